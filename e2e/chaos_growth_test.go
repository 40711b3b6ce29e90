package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab"
)

// The processes that Warren has on a node.
const (
	roleAgent  = "agent"
	roleTunnel = "tunnel"
)

// process is one of them. Its start time tells it from a later one that got its number.
type process struct {
	node, role string
	pid        int
	start      string
}

func (p process) String() string { return p.node + "'s " + p.role }

// processesOf finds a node's.
func processesOf(n *lab.Node) ([]process, error) {
	want, err := os.Readlink(n.NetNS())
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, file := range files {
		if ns, err := os.Readlink(file); err != nil || ns != want {
			continue // somebody else's, or it has just ended
		}
		dir := filepath.Dir(filepath.Dir(file))
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		stat, err2 := os.ReadFile(filepath.Join(dir, "stat"))
		pid, err3 := strconv.Atoi(filepath.Base(dir))
		args := strings.Split(string(line), "\x00")
		if err != nil || err2 != nil || err3 != nil || len(args) < 2 {
			continue
		}
		p := process{node: n.Name, role: roleAgent, pid: pid, start: strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))[20]}
		switch {
		case args[1] == "tunnel":
			p.role = roleTunnel
		case filepath.Base(args[0]) != "warrend":
			continue
		}
		found = append(found, p)
	}
	return found, nil
}

// The measures of a process, and how much more of each is no growth yet: a share of what it was and an amount. They stand for what
// differs from moment to moment even in the smallest of several looks; for resident memory they have to hold what Go has not given back. Of the heap
// only many looks are sure to see it without its garbage, of which an agent lets some 10 MiB come together, and that may take it a minute.
var measures = []struct {
	name   string
	share  float64
	amount float64
	looks  int // make it a question
}{
	{"goroutines", 0, 8, minLife},
	{"descriptors", 0, 8, minLife},
	{"threads", 0, 12, minLife},
	{"heap, MiB", 0.25, 4, 10 * minLife},
	{"resident, MiB", 0.25, 16, minLife},
}

// usage is what a process has of each measure; of what cannot be seen it has 0.
type usage [5]float64

// usageOf looks at a process. metrics is what an agent says of itself, or empty.
func usageOf(pid int, metrics string) (u usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	descriptors, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return u, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return u, err
	}
	const mebi = 1 << 20
	return usage{
		numberAfter(metrics, "\ngo_goroutines "), float64(len(descriptors)), numberAfter(string(status), "\nThreads:\t"),
		numberAfter(metrics, "\ngo_memstats_heap_alloc_bytes ") / mebi, numberAfter(string(status), "\nVmRSS:\t") / (mebi >> 10),
	}, nil
}

var number = regexp.MustCompile(`^ *[0-9.e+]+`)

func numberAfter(text, label string) float64 {
	_, rest, _ := strings.Cut(text, label)
	value, err := strconv.ParseFloat(strings.TrimSpace(number.FindString(rest)), 64)
	if err != nil {
		return 0
	}
	return value
}

// lives are all processes that were ever seen, with what they had at each look.
type lives map[process][]usage

// look takes note of a node's processes.
func (l lives) look(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	found, err := processesOf(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range found {
		metrics := ""
		if p.role == roleAgent {
			metrics = scrape(ctx, t, n)
		}
		u, err := usageOf(p.pid, metrics)
		if err != nil {
			continue // it has just ended
		}
		l[p] = append(l[p], u)
	}
}

// minLife is how many looks at a process make its growth a question at all.
const minLife = 20

// growth is what a process had at the first and at the last tenth of the looks at it: the least of each, since what is leaked is never
// given back and everything else is now and then.
type growth struct {
	process
	looks       int
	early, late usage
}

func (l lives) growths() (all []growth) {
	for p, looks := range l {
		if len(looks) >= minLife {
			all = append(all, grow(p, looks))
		}
	}
	return all
}

func grow(p process, looks []usage) growth {
	window := max(3, len(looks)/10)
	return growth{p, len(looks), least(looks[:window]), least(looks[len(looks)-window:])}
}

func least(looks []usage) usage {
	u := looks[0]
	for _, look := range looks[1:] {
		for i := range u {
			u[i] = min(u[i], look[i])
		}
	}
	return u
}

// limit is the most that a measure may have been in the end.
func (g growth) limit(i int) float64 { return g.early[i]*(1+measures[i].share) + measures[i].amount }

// grown says what grew.
func (g growth) grown() (texts []string) {
	for i, m := range measures {
		if g.looks >= m.looks && g.late[i] > g.limit(i) {
			texts = append(texts, fmt.Sprintf("%s: %s grew from %.1f to %.1f in %d looks, want at most %.1f",
				g.process, m.name, g.early[i], g.late[i], g.looks, g.limit(i)))
		}
	}
	return texts
}

// TestGrowthIsSeen: of a process that is as restless as a real one, each thing that leaks is found, and without a leak nothing is.
func TestGrowthIsSeen(t *testing.T) {
	const faults = 1000
	for _, test := range []struct {
		name  string
		looks int
		leak  usage // per fault
		want  string
	}{
		{name: "no leak", looks: faults},
		{name: "no leak in a slice", looks: 40},
		{name: "a goroutine in 100 faults", looks: faults, leak: usage{0: 0.012}, want: "goroutines"},
		{name: "a descriptor in 100 faults", looks: faults, leak: usage{1: 0.012}, want: "descriptors"},
		{name: "a thread in 50 faults", looks: faults, leak: usage{2: 0.02}, want: "threads"},
		{name: "10 KiB of heap a fault", looks: faults, leak: usage{3: 0.01}, want: "heap"},
		{name: "30 KiB of memory a fault", looks: faults, leak: usage{4: 0.03}, want: "resident"},
		{name: "a goroutine in 3 faults of a slice", looks: 40, leak: usage{0: 0.34}, want: "goroutines"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var looks []usage
			for n := range test.looks {
				u := usage{60, 20, 12, 9, 40}
				for i := range u {
					u[i] += float64(r.IntN(10)) + float64(n)*test.leak[i]
				}
				looks = append(looks, u)
			}
			grown := grow(process{node: "n1", role: roleAgent}, looks).grown()
			if test.want == "" && len(grown) > 0 || test.want != "" && (len(grown) != 1 || !strings.Contains(grown[0], test.want)) {
				t.Errorf("grown: %q, want %q", grown, test.want)
			}
		})
	}
}

// TestUsage: the figures are those of the process.
func TestUsage(t *testing.T) {
	before, err := usageOf(os.Getpid(), "")
	if err != nil {
		t.Fatal(err)
	}
	const more = 10
	for range more {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	hold := make([]byte, 64<<20)
	for i := range hold {
		hold[i] = 1
	}
	after, err := usageOf(os.Getpid(), "# HELP go_goroutines Number.\ngo_goroutines 41\ngo_memstats_heap_alloc_bytes 2.097152e+06\n")
	runtime.KeepAlive(hold)
	switch {
	case err != nil:
		t.Fatal(err)
	case after[0] != 41 || after[1] < before[1]+more || after[2] < 1 || after[3] != 2 || after[4] < before[4]+48:
		t.Errorf("usage %v after %v", after, before)
	}
}
