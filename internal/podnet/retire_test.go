package podnet

import (
	"fmt"
	"strings"
	"testing"
)

// TestRetire takes some of the pods off the network, and then their wires away, and leaves everybody else's.
func TestRetire(t *testing.T) {
	node(t)
	stays := newPod(t, "stays", "10.244.0.5", "fd00:10:244::5")
	stays.attach(t)
	run(t, "ip link set outside group 7") // somebody else's
	var gone []*pod
	for i := range 3 {
		p := newPod(t, fmt.Sprint("gone-", i), fmt.Sprint("10.244.0.", 6+i), fmt.Sprint("fd00:10:244::", 6+i))
		p.attach(t)
		gone = append(gone, p)
	}
	run(t, "ping -c1 -W1 10.244.0.6")
	if err := Sweep(); err != nil { // There is nothing to sweep.
		t.Fatal(err)
	}
	for _, p := range gone {
		for range 2 {
			if err := Retire(p.Namespace, p.Name, p.Interface); err != nil {
				t.Fatal(err)
			}
		}
		link := p.Result().HostLink
		for _, family := range []string{"-4", "-6"} {
			same(t, "routes to what was retired", run(t, "ip "+family+" route show dev "+link), "")
			same(t, "neighbours of what was retired", run(t, "ip "+family+" neighbour show nud permanent dev "+link), "")
		}
		if out := run(t, p.in("ip -o link show eth0")); !strings.Contains(out, "NO-CARRIER") {
			t.Errorf("the pod's end: %s", out)
		}
		if wired, err := Wired(p.Namespace, p.Name, p.Interface); err != nil || wired {
			t.Errorf("it is wired: %v, %v", wired, err)
		}
	}
	wires, err := Wires()
	if err != nil || len(wires) != 1 || wires[0].Link != stays.Result().HostLink {
		t.Errorf("wires: %v, %v", wires, err)
	}
	given, err := Given()
	if err != nil || len(given) != 1 {
		t.Errorf("given: %v, %v", given, err)
	}
	back := gone[0]
	back.attach(t) // before its former wire was removed
	run(t, "ping -c1 -W1 10.244.0.6")
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	for _, p := range gone[1:] {
		if out, err := try(p.in("ip link show eth0")); err == nil {
			t.Errorf("a wire is left: %s", out)
		}
	}
	run(t, "ip link show outside")
	for _, address := range []string{"10.244.0.5", "fd00:10:244::5", "10.244.0.6", "fd00:10:244::6"} {
		run(t, "ping -c1 -W1 "+address)
	}
}
