package wg

import (
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	n := newNode(t, "probe", Options{})
	before := n.run("ip", "link")
	n.in(func() {
		kernel, err := Probe()
		if err != nil {
			t.Error(err)
		}
		t.Logf("the kernel has WireGuard: %v", kernel)
	})
	if after := n.run("ip", "link"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestKernel(t *testing.T) {
	n := newNode(t, "kernel", Options{})
	n.mustSet(n.lane())
	var kernel bool
	n.in(func() { kernel, _ = Probe() })
	if !kernel {
		n.in(func() {
			if _, err := New(Options{Mode: Kernel}); err == nil || !strings.Contains(err.Error(), "this kernel has no WireGuard") {
				t.Errorf("error %v, want one that says that the kernel has no WireGuard", err)
			}
		})
		t.Skip("this kernel has no WireGuard: only the error was tested")
	}
	n.open(Options{Mode: Auto})
	n.mustSet(n.lane(testPeer(1)))
	if link := n.run("ip", "-details", "link", "show", n.iface()); !strings.Contains(link, "tun type tun") {
		t.Errorf("auto replaced the userspace device: %s", link)
	}
	n.open(Options{Mode: Kernel})
	n.mustSet(n.lane(testPeer(1)))
	if link := n.run("ip", "-details", "link", "show", n.iface()); !strings.Contains(link, "alias warren.dev/lane") || !strings.Contains(link, "wireguard") {
		t.Errorf("the link is not the kernel's: %s", link)
	}
	if sent := n.sent(func() { n.device.Forget(); n.mustSet(n.lane(testPeer(1))) }); sent != 0 {
		t.Errorf("an audit sent %d messages, want none", sent)
	}
	if sent := n.sent(func() { n.mustSet(n.lane(testPeer(1), testPeer(2))) }); sent != 1 {
		t.Errorf("one more peer took %d messages, want 1", sent)
	}
	n.run("ip", "link", "add", bareName, "type", "wireguard") // as a crash may leave it
	n.run("ip", "link", "del", n.iface())
	n.mustSet(n.lane(testPeer(1)))
	n.status(testPeer(1).PublicKey)
	if _, err := n.try("ip", "link", "show", bareName); err == nil {
		t.Error("the unfinished link is still there")
	}
}

func TestAutoKeepsWhatIsThere(t *testing.T) {
	n := newNode(t, "auto", Options{})
	n.mustSet(n.lane(testPeer(1)))
	pid := n.tunnelPID()
	n.open(Options{Mode: Auto})
	if sent := n.sent(func() { n.mustSet(n.lane(testPeer(1))) }); sent != 0 {
		t.Errorf("%d messages, want none", sent)
	}
	if got := n.tunnelPID(); got != pid {
		t.Errorf("the process is %d, want %d as before", got, pid)
	}
	n.in(func() {
		if _, err := New(Options{Mode: "fast"}); err == nil || !strings.Contains(err.Error(), "want auto, kernel or userspace") {
			t.Errorf("error %v, want one about the mode", err)
		}
	})
}
