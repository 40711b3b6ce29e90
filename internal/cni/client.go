package cni

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// ErrAway says that the agent gave no answer.
var ErrAway = errors.New("the agent gives no answer (is warrend running on this node?)")

// Ask asks the agent that listens on the socket. The error is the agent's own, a *types.Error, or ErrAway. It speaks just as much HTTP as it
// takes: net/http would double the time that the plugin needs to start.
func Ask(socket string, command Command, r Request, timeout time.Duration) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	status, answer, err := post(socket, URLPrefix+string(command), body, timeout)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w: %w", socket, ErrAway, err)
	}
	if status == "200" {
		return answer, nil
	}
	var e types.Error
	if err := json.Unmarshal(answer, &e); err != nil || e.Code == 0 {
		return nil, fmt.Errorf("asking %s: %w: it says %s %.200q", socket, ErrAway, status, answer)
	}
	return nil, &e
}

// dial connects to a socket. To read and to write may each take as long as timeout. A call has one conversation and nothing else to do: it
// waits in the kernel, where package net would have threads take turns to wait for it.
func dial(socket string, timeout time.Duration) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	limit := unix.NsecToTimeval(timeout.Nanoseconds())
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} { // The latter is connect's, too.
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return nil, errors.Join(fmt.Errorf("setting the socket's time-out: %w", err), unix.Close(fd))
		}
	}
	for {
		err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		if err == nil {
			return os.NewFile(uintptr(fd), socket), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("connecting: %w", err), unix.Close(fd))
		}
	}
}

// post sends a request of HTTP/1.0, to which the answer ends with the connection.
func post(socket, url string, body []byte, timeout time.Duration) (status string, answer []byte, err error) {
	conn, err := dial(socket, timeout)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = conn.Close() }()
	head := fmt.Sprintf("POST %s HTTP/1.0\r\nHost: agent\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", url, len(body))
	if _, err := conn.Write(append([]byte(head), body...)); err != nil {
		return "", nil, err
	}
	reader := bufio.NewReader(io.LimitReader(conn, MaxSize))
	text := textproto.NewReader(reader)
	line, err := text.ReadLine()
	if err != nil {
		return "", nil, err
	}
	words := strings.SplitN(line, " ", 3)
	if len(words) < 2 || !strings.HasPrefix(words[0], "HTTP/1.") {
		return "", nil, fmt.Errorf("it answers %.100q, which is no HTTP", line)
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		return "", nil, err
	}
	if answer, err = io.ReadAll(reader); err != nil {
		return "", nil, err
	}
	// An agent that was killed meanwhile leaves an answer that has no end.
	if length := header.Get("Content-Length"); length != strconv.Itoa(len(answer)) {
		return "", nil, fmt.Errorf("it answers %d bytes of %s", len(answer), length)
	}
	return words[1], answer, nil
}
