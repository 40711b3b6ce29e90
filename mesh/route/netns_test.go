package route

import (
	"net/netip"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh"
)

// inNetNS puts the rest of the test into a network namespace of its own. The thread is never unlocked, so it ends with the test.
func inNetNS(tb testing.TB) {
	tb.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Fatalf("making a network namespace (needs root): %v", err)
	}
	ip(tb, "link set lo up")
}

// ip runs the real ip in the test's namespace, without trailing spaces.
func ip(tb testing.TB, args string) string {
	tb.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		tb.Fatalf("ip %s: %v\n%s", args, err, out)
	}
	return regexp.MustCompile(`(?m)[ \t]+$`).ReplaceAllString(string(out), "")
}

// lane makes a link that stands for a lane, with a carrier, and without addresses that come when they like.
func lane(tb testing.TB, name string) {
	tb.Helper()
	peer := "p" + name[1:]
	ip(tb, "link add "+name+" type veth peer name "+peer)
	ip(tb, "link set "+name+" addrgenmode none")
	ip(tb, "link set "+peer+" up addrgenmode none")
}

// carrier waits until the kernel has seen that a link has one, with which come its multicast routes.
func carrier(tb testing.TB, name string) {
	tb.Helper()
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(ip(tb, "-6 route show table local"), "ff00::/8 dev "+name); {
		if time.Now().After(deadline) {
			tb.Fatalf("link %s has no multicast route after 5 s", name)
		}
		time.Sleep(time.Millisecond)
	}
}

func newRouter(tb testing.TB, messages *int) *Router {
	tb.Helper()
	r, err := New(Options{OnMessage: func(n int) { *messages += n }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.Close)
	return r
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func via(destination, device, source string) *mesh.Route {
	return &mesh.Route{Destination: pfx(destination), Device: device, Source: netip.MustParseAddr(source)}
}

func unreachable(destination string) *mesh.Route {
	return &mesh.Route{Destination: pfx(destination), Metric: mesh.UnreachableMetric}
}

// meshAddresses are the test node's own; the plan's routes name them as source.
var meshAddresses = []netip.Prefix{pfx("10.244.0.1/32"), pfx("fd00:10:244::1/128")}

func plan() []*mesh.Route {
	return []*mesh.Route{
		via("10.244.1.0/24", "warren0", "10.244.0.1"),
		via("10.244.2.0/24", "warren0", "10.244.0.1"),
		via("fd00:10:244:1::/64", "warren0", "fd00:10:244::1"),
		unreachable("10.244.0.0/16"),
		unreachable("fd00:10:244::/48"),
	}
}
