package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// row is what one event cost, on one kind of device.
type row struct {
	// Device is "kernel" or "userspace".
	Device string `json:"device"`
	Event  string `json:"event"`
	// Sent and Lost are numbered UDP packets, there and back. GapMs is the longest time in which none came back.
	Sent  int `json:"sent"`
	Lost  int `json:"lost"`
	GapMs int `json:"gapMs"`
	// TCPBytes came back by the connection, and TCPWhole says whether that is all that was sent.
	TCPBytes int  `json:"tcpBytes"`
	TCPWhole bool `json:"tcpWhole"`
	TCPGapMs int  `json:"tcpGapMs"`
	// MaxGapMs is the longest gap allowed; 0 where nothing may be lost.
	MaxGapMs int `json:"maxGapMs"`
}

// mark is what precedes a row in a test's output.
const mark = "resilience: {"

// parse finds the rows in what tests print.
func parse(from io.Reader) ([]row, error) {
	var rows []row
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, text, ok := strings.Cut(lines.Text(), mark)
		if !ok {
			continue
		}
		var r row
		decoder := json.NewDecoder(strings.NewReader("{" + text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&r); err != nil {
			return nil, fmt.Errorf("reading %q: %w", lines.Text(), err)
		}
		rows = append(rows, r)
	}
	return rows, lines.Err()
}

const head = "# What traffic notices\n\n" +
	"Written by `make resilience`. Two pods on two nodes of three have traffic while something happens: a thousand numbered UDP packets a second\n" +
	"that are echoed, so each way, and a TCP connection. A packet that does not come back is lost, on whichever way. The gap is the longest time\n" +
	"in which nothing came back; without a loss it is the machine's own: it has few processors, on which all nodes and the API server run.\n" +
	"The kernel's device is Debian's, in a virtual machine. Where its processor is emulated it sends fewer than a thousand a second: as many as\n" +
	"the table says.\n"

func render(rows []row) string {
	var b strings.Builder
	b.WriteString(head)
	for _, device := range []string{"kernel", "userspace"} {
		some := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.Device != device })
		if len(some) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## The %s device\n\n", device)
		b.WriteString("| event | UDP packets sent | lost | longest gap | TCP bytes | whole | longest gap |\n| --- | --- | --- | --- | --- | --- | --- |\n")
		for _, r := range some {
			lost := strconv.Itoa(r.Lost)
			if r.MaxGapMs > 0 {
				lost += fmt.Sprintf(" (at most %d ms)", r.MaxGapMs)
			}
			whole := "no"
			if r.TCPWhole {
				whole = "yes"
			}
			fmt.Fprintf(&b, "| %s | %d | %s | %d ms | %d | %s | %d ms |\n", r.Event, r.Sent, lost, r.GapMs, r.TCPBytes, whole, r.TCPGapMs)
		}
	}
	return b.String()
}
