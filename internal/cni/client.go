package cni

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
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

// post sends a request of HTTP/1.0, to which the answer ends with the connection.
func post(socket, url string, body []byte, timeout time.Duration) (status string, answer []byte, err error) {
	conn, err := net.DialTimeout("unix", socket, timeout) //nolint:noctx // it has a time-out
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", nil, err
	}
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
