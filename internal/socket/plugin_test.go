package socket

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
)

const soon = 5 * time.Second

func TestThePluginIsAnswered(t *testing.T) {
	path, stop := serve(t, backend{})
	defer func() { _ = stop() }()
	for _, command := range cni.Commands {
		got, err := cni.Ask(path, command, cni.Request{ContainerID: "abc", Config: json.RawMessage("{}")}, soon)
		if want := string(command) + " abc"; err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", command, got, err, want)
		}
	}
	// Of a configuration as large as may be, all of it arrives.
	large := cni.Request{ContainerID: "abc", Config: json.RawMessage(`"` + strings.Repeat("<", cni.MaxSize/8) + `"`)}
	if got, err := cni.Ask(path, cni.Add, large, soon); err != nil || string(got) != "add abc" {
		t.Errorf("a large request: %q, %v", got, err)
	}
	large.Config = json.RawMessage(`"` + strings.Repeat("x", 3*cni.MaxSize) + `"`)
	if _, err := cni.Ask(path, cni.Add, large, soon); err == nil {
		t.Error("a request of 3 MiB was answered")
	}
	if _, err := cni.Ask(path, "none", cni.Request{Config: json.RawMessage("{}")}, soon); !errors.Is(err, cni.ErrAway) {
		t.Errorf("an unknown command: %v", err)
	}
}

func TestErrorsHaveTheirCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code uint
	}{
		{types.NewError(types.ErrTryAgainLater, "later", "why"), types.ErrTryAgainLater},
		{fmt.Errorf("asking: %w", types.NewError(cni.ErrNoAddress, "full", "")), cni.ErrNoAddress},
		{errors.New("no such device"), types.ErrInternal},
	} {
		path, stop := serve(t, backend{err: tt.err})
		_, err := cni.Ask(path, cni.Add, cni.Request{Config: json.RawMessage("{}")}, soon)
		var e *types.Error
		if !errors.As(err, &e) || e.Code != tt.code {
			t.Errorf("%v: got %v, want code %d", tt.err, err, tt.code)
		}
		_ = stop()
		if _, err := cni.Ask(path, cni.Add, cni.Request{Config: json.RawMessage("{}")}, soon); !errors.Is(err, cni.ErrAway) {
			t.Errorf("an agent that has ended: %v", err)
		}
	}
}

// TestAnAgentThatDiesMeanwhile: whatever part of an answer arrives, it is no answer before its end.
func TestAnAgentThatDiesMeanwhile(t *testing.T) {
	const whole = "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nyes!"
	for size := range len(whole) + 1 {
		path := filepath.Join(t.TempDir(), "s")
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(whole[:size]))
			_ = conn.Close()
		}()
		got, err := cni.Ask(path, cni.Add, cni.Request{Config: json.RawMessage("{}")}, soon)
		if ended := size == len(whole); ended != (err == nil) || ended && string(got) != "yes!" || err != nil && !errors.Is(err, cni.ErrAway) {
			t.Errorf("after %q: %q, %v", whole[:size], got, err)
		}
		_ = listener.Close()
	}
}
