package podnet

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// second is another interface of a pod.
func (p *pod) second(addrs ...string) *pod {
	other := *p
	other.Interface, other.Addresses = "net1", nil
	for _, a := range addrs {
		other.Addresses = append(other.Addresses, netip.MustParseAddr(a))
	}
	return &other
}

// TestTwoInterfaces: each of a pod's addresses can be reached, what it answers leaves by the interface that the address is of, and the
// first interface stays the default.
func TestTwoInterfaces(t *testing.T) {
	node(t)
	p := newPod(t, "web", "10.244.0.5", "fd00:10:244::5")
	q := p.second("10.244.0.6", "fd00:10:244::6")
	p.attach(t)
	r := q.attach(t)
	if same := p.Result().HostLink; same == r.HostLink {
		t.Fatalf("both interfaces have the link %s", same)
	}
	for range 2 {
		for _, a := range append(p.Addresses, q.Addresses...) {
			run(t, "ping -c1 -W1 "+a.String())
		}
		run(t, p.in("ping -c1 -W1 192.0.2.1"))
		run(t, p.in("ping -c1 -W1 -I 10.244.0.6 192.0.2.1"))
		for from, want := range map[string]string{"10.244.0.5": "dev eth0", "10.244.0.6": "dev net1"} {
			if got := run(t, p.in("ip route get 192.0.2.1 from "+from)); !strings.Contains(got, want) {
				t.Errorf("from %s: %s, want %s", from, got, want)
			}
		}
		same(t, "default route", run(t, p.in("ip -4 route show default")), "default via 169.254.1.1 dev eth0 onlink\n")
		for _, s := range []Spec{p.Spec, q.Spec} {
			if err := Check(s); err != nil {
				t.Error(err)
			}
		}
		p.attach(t)
		q.attach(t) // the same again
	}
	// The second one goes and comes back with another address, under another index.
	if err := Detach("default", "web", "net1"); err != nil {
		t.Fatal(err)
	}
	run(t, "ping -c1 -W1 10.244.0.5")
	q = p.second("10.244.0.7")
	q.attach(t)
	run(t, "ping -c1 -W1 10.244.0.7")
	run(t, "ping -c1 -W1 10.244.0.5")
}

func TestCheck(t *testing.T) {
	node(t)
	p := newPod(t, "web", "10.244.0.5", "fd00:10:244::5")
	for _, tt := range []struct{ name, command, want string }{
		{"whole", "true", ""},
		{"host route", "ip route del 10.244.0.5 dev LINK", "route to 10.244.0.5 is gone"},
		{"host IPv6 route", "ip -6 route del fd00:10:244::5 dev LINK", "route to fd00:10:244::5 is gone"},
		{"address", p.in("ip addr del 10.244.0.5/32 dev eth0"), "eth0 has not the address 10.244.0.5"},
		{"default route", p.in("ip -4 route del default"), "no default route by eth0 for 10.244.0.5"},
		{"IPv6 default route", p.in("ip -6 route del default"), "no default route by eth0 for fd00:10:244::5"},
		{"name", p.in("ip link set eth0 down name eth9"), "eth0 is not the other end"},
		{"wire", "ip link del LINK", "is gone"},
	} {
		r := p.attach(t)
		run(t, strings.ReplaceAll(tt.command, "LINK", r.HostLink))
		err := Check(p.Spec)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if wired, err := Wired("default", "web", "eth0"); err != nil || wired != (tt.name != "wire") {
			t.Errorf("%s: wired %v, %v", tt.name, wired, err)
		}
	}
	if err := Check(newPod(t, "other", "10.244.0.6").Spec); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("a pod without a wire: %v", err)
	}
}

func TestTune(t *testing.T) {
	node(t)
	p := newPod(t, "web", "10.244.0.5")
	r := p.attach(t)
	for _, mtu := range []int{1300, 1420, 1420} {
		s := p.Spec
		s.MTU = mtu
		if err := Tune(s); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"ip -o link show " + r.HostLink, p.in("ip -o link show eth0")} {
			if got := run(t, command); !strings.Contains(got, fmt.Sprintf(" mtu %d ", mtu)) {
				t.Errorf("MTU %d: %s", mtu, got)
			}
		}
	}
	if err := Detach("default", "web", "eth0"); err != nil {
		t.Fatal(err)
	}
	if err := Tune(p.Spec); err != nil {
		t.Errorf("of a wire that is gone: %v", err)
	}
}

func TestOpenSandbox(t *testing.T) {
	node(t)
	fifo := t.TempDir() + "/fifo"
	run(t, "mkfifo "+fifo)
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/none", file, fifo, "/dev/zero", "/", "/proc/self/ns/mnt", "/proc/thread-self/ns/net"} {
		if _, err := OpenSandbox(path); err == nil || !strings.Contains(err.Error(), ErrNetNS.Error()) {
			t.Errorf("%q: %v", path, err)
		}
	}
	sandbox, err := OpenSandbox(newPod(t, "web").NetNS)
	if err != nil {
		t.Fatal(err)
	}
	sandbox.Close()
}
