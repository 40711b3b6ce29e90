package podnet

import (
	"fmt"
	"strings"
	"testing"
)

// TestNothingIsLearnt: pods that talk leave no neighbours behind that the kernel would have to collect, and whose table could be full.
func TestNothingIsLearnt(t *testing.T) {
	node(t)
	var pods []*pod
	for i := range 5 {
		p := newPod(t, fmt.Sprint("web-", i), fmt.Sprintf("10.244.0.%d", 10+i), fmt.Sprintf("fd00:10:244::%x", 10+i))
		p.attach(t)
		pods = append(pods, p)
	}
	for _, from := range pods {
		for _, to := range pods {
			for _, a := range to.Addresses {
				run(t, from.in("ping -c1 -W1 "+a.String()))
			}
		}
		run(t, from.in("ping -c1 -W1 192.0.2.1"))
		run(t, from.in("ping -c1 -W1 2001:db8::1"))
	}
	learnt := func(command string) (found []string) {
		for line := range strings.Lines(run(t, command)) {
			if !strings.Contains(line, " PERMANENT") && !strings.Contains(line, " NOARP") && !strings.Contains(line, "fe80:") {
				found = append(found, line)
			}
		}
		return found
	}
	if found := learnt("ip neigh show"); len(found) > 0 {
		t.Errorf("the node has learnt %s", found)
	}
	for _, p := range pods {
		if found := learnt(p.in("ip neigh show")); len(found) > 0 {
			t.Errorf("%s has learnt %s", p.Name, found)
		}
	}
}

// TestAPodSeesItsOwnWireOnly: no address of a pod is on another's wire, on either end, and no pod answers for another.
func TestAPodSeesItsOwnWireOnly(t *testing.T) {
	node(t)
	a, b := newPod(t, "a", "10.244.0.5", "fd00:10:244::5"), newPod(t, "b", "10.244.0.6", "fd00:10:244::6")
	linkA := a.attach(t).HostLink
	b.attach(t)
	for _, command := range []string{a.in("ip addr show"), a.in("ip route show table all"), a.in("ip -6 route show table all"), a.in("ip neigh show"), "ip addr show dev " + linkA} {
		if got := run(t, command); strings.Contains(got, "10.244.0.6") || strings.Contains(got, "fd00:10:244::6") {
			t.Errorf("%s: %s", command, got)
		}
	}
	if got := run(t, "ip -4 addr show dev "+linkA); got != "" {
		t.Errorf("the host's end has an IPv4 address: %s", got)
	}
}

// TestASpoofedMACIsNotAnswered: what a pod gets is sent to the hardware address that it was given.
func TestASpoofedMACIsNotAnswered(t *testing.T) {
	node(t)
	a, b := newPod(t, "a", "10.244.0.5", "fd00:10:244::5"), newPod(t, "b", "10.244.0.6", "fd00:10:244::6")
	macOfB := b.attach(t).PodMAC
	a.attach(t)
	run(t, a.in("ping -c1 -W1 10.244.0.6"))
	for _, mac := range []string{"02:00:00:00:00:66", macOfB.String()} {
		run(t, a.in("ip link set eth0 address "+mac))
		for _, to := range []string{"10.244.0.6", "192.0.2.1", "fd00:10:244::6", "2001:db8::1"} {
			if out, err := try(a.in("ping -c1 -W1 " + to)); err == nil {
				t.Errorf("%s answered a pod with the hardware address %s: %s", to, mac, out)
			}
		}
	}
	run(t, "ping -c1 -W1 10.244.0.6")
}

// TestNothingIsLearntOfWhoAsks: a pod that asks for the node's addresses under ones that it makes up is not answered, and not remembered.
func TestNothingIsLearntOfWhoAsks(t *testing.T) {
	node(t)
	run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0")
	p := newPod(t, "web", "10.244.0.5", "fd00:10:244::5")
	link := p.attach(t).HostLink
	run(t, p.in("ip addr add 10.99.0.5/32 dev eth0"))
	run(t, p.in("ip route add 192.0.2.1 dev eth0 src 10.99.0.5"))
	answered := func() bool {
		_, _ = try(p.in("ping -c 1 -W 0.3 192.0.2.1"))
		return strings.Contains(run(t, p.in("ip neigh show 192.0.2.1 dev eth0")), "lladdr")
	}
	learnt := func() string { return run(t, "ip neigh show 10.99.0.5 dev "+link) }
	run(t, "sysctl -qw net.ipv4.conf."+link+".arp_ignore=0")
	if !answered() || learnt() == "" {
		t.Fatalf("it is not answered anyway: this test proves nothing")
	}
	run(t, "ip neigh flush dev "+link)
	run(t, p.in("ip neigh flush dev eth0 192.0.2.1"))
	if err := Tune(p.Spec); err != nil { // As of an agent that has just been upgraded.
		t.Fatal(err)
	}
	if answered() || learnt() != "" {
		t.Errorf("it was answered, or learnt: %q", learnt())
	}
}
