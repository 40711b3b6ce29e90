package pods

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/podnet"
)

// TestDelIsAtOnce: when DEL has answered nothing passes any more, and the pod may come again at once, in the same namespace or another. The
// links follow within a second.
func TestDelIsAtOnce(t *testing.T) {
	l := newLocal(t)
	s := l.node.sandbox(t, "web")
	defer s.close()
	l.call(t, cni.Add, s)
	link := podnet.HostLink("default", "web", "eth0")
	out, err := exec.Command("ip", "-4", "-o", "route", "show", "dev", link).CombinedOutput()
	address, _, _ := strings.Cut(string(out), " ")
	if err != nil || address == "" {
		t.Fatalf("%v: %s", err, out)
	}
	for range 3 {
		l.call(t, cni.Del, s)
		if out, err := exec.Command("ip", "-o", "route", "show", "dev", link).Output(); err == nil && len(out) > 0 {
			t.Errorf("after DEL it is routed to: %s", out)
		}
		if out, err := in(s, "ip", "-o", "link", "show", "dev", "eth0"); err == nil && !strings.Contains(out, "NO-CARRIER") {
			t.Errorf("after DEL the pod has %s", out)
		}
		_, err := l.Call(t.Context(), cni.Check, cni.Request{
			ContainerID: s.id, NetNS: s.path(), Interface: "eth0", Config: json.RawMessage(l.node.conf("1.1.0")),
		})
		var e *types.Error
		if !errors.As(err, &e) || e.Code != types.ErrUnknownContainer {
			t.Errorf("CHECK after DEL: %v", err)
		}
		l.call(t, cni.Add, s)
		if out, err := in(s, "ping", "-n", "-q", "-c1", "-W2", "10.244.3.1"); err != nil {
			t.Errorf("added again: %s", out)
		}
	}
	l.call(t, cni.Del, s)
	again := l.node.sandbox(t, "web")
	defer again.close()
	l.call(t, cni.Add, again)
	if out, err := in(again, "ping", "-n", "-q", "-c1", "-W2", "10.244.3.1"); err != nil {
		t.Errorf("in another namespace: %s", out)
	}
	if w := settled(t, 1); len(w) != 1 {
		t.Errorf("wires: %s", w)
	}
	l.call(t, cni.Del, again)
	if w := settled(t, 0); len(w) > 0 {
		t.Errorf("wires that are left: %s", w)
	}
}

// TestRetiredByAnAgentBefore: a wire whose DEL was done when the agent died is none of a pod's, and goes with the next look.
func TestRetiredByAnAgentBefore(t *testing.T) {
	l := newLocal(t)
	s := l.node.sandbox(t, "web")
	defer s.close()
	l.call(t, cni.Add, s)
	if err := podnet.Retire("default", "web", "eth0"); err != nil {
		t.Fatal(err)
	}
	if w := wires(t); len(w) != 1 {
		t.Fatalf("wires: %s: this test proves nothing", w)
	}
	if survey, err := l.Survey(nil); err != nil || len(survey.Wires) > 0 {
		t.Errorf("surveyed: %v, %v", survey.Wires, err)
	}
	if _, err := l.Collect(); err != nil {
		t.Error(err)
	}
	if w := wires(t); len(w) > 0 {
		t.Errorf("wires that are left: %s", w)
	}
}
