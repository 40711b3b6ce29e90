package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestForeign: firewalls that forward nothing unknown and a WireGuard device of somebody else on every node. Pods connect, and what
// is theirs goes on and stays as it is.
func TestForeign(t *testing.T) {
	ctx := testContext(t)
	s := bareScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	n1, n2 := s.Node("n1"), s.Node("n2")
	for _, n := range s.Nodes() {
		addTheirs(ctx, t, n)
	}
	joinTheirs(ctx, t, n1, n2)
	pingTheirs(ctx, t, n1, n2)
	before := map[string]string{n1.Name: theirState(ctx, t, n1), n2.Name: theirState(ctx, t, n2)}
	untouched := func(when string) {
		t.Helper()
		for _, n := range s.Nodes() {
			if diff := cmp.Diff(before[n.Name], theirState(ctx, t, n)); diff != "" {
				t.Errorf("%s, %s: what is theirs changed (-before +after):\n%s", n.Name, when, diff)
			}
		}
		pingTheirs(ctx, t, n1, n2)
	}

	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
		s.addPod(ctx, t, n, "p1")
		s.addPod(ctx, t, n, "p2")
	}
	s.meshed(ctx, t)
	podsConnect(ctx, t, s)
	untouched("while agents run")

	if err := n1.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	untouched("after an agent's end")
	s.startAgent(ctx, t, n1)

	// Whoever loads a firewall anew does not know of our accepts.
	for _, n := range s.Nodes() {
		run(ctx, t, &n.Host, "delete table inet theirs; delete table ip theirnat;"+theirTables, "nft", "-f", "-")
		run(ctx, t, &n.Host, "", "iptables", "-F", "FORWARD")
		run(ctx, t, &n.Host, "", "iptables", "-A", "FORWARD", "-s", "192.0.2.0/24", "-m", "comment", "--comment", "theirs", "-j", "ACCEPT")
	}
	took := eventually(ctx, t, 2*time.Second, func() error {
		_, err := lab.Matrix(ctx, lab.PodHosts(s.Pods()), lab.Addresses(lab.PodHosts(s.Pods())), quickPing)
		return err
	})
	t.Logf("all pods reach each other %s after the firewalls were loaded anew", took.Round(time.Millisecond))
	podsConnect(ctx, t, s)
	untouched("after the firewalls were loaded anew")
	s.sealed(ctx, t)
}

// pingTheirs uses their devices, in both directions.
func pingTheirs(ctx context.Context, t *testing.T, a, b *lab.Node) {
	t.Helper()
	for _, way := range [][2]*lab.Node{{a, b}, {b, a}} {
		to := netip.MustParseAddr(theirAddress(way[1]))
		if err := way[0].Ping(ctx, to, lab.PingOptions{Count: 3}); err != nil {
			t.Errorf("by somebody else's WireGuard: %v", err)
		}
	}
}

// podsConnect checks all pairs of pods, every node's mesh addresses from every pod, and every pod from every host.
func podsConnect(ctx context.Context, t *testing.T, s *scene) {
	t.Helper()
	pods := lab.PodHosts(s.Pods())
	to := lab.Addresses(pods)
	for _, n := range s.Nodes() {
		to = append(to, n.MeshAddresses...)
	}
	count, err := lab.Matrix(ctx, pods, to, lab.ByPing, lab.ByTCP, lab.ByUDP)
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d checks from pods", count)
	hostsReachPods(ctx, t, s)
}

// TestForeignLink: a link of the lane's name that is somebody else's. The agent says so, leaves it alone, lets nothing leave in
// clear, and goes on when the link is gone.
func TestForeignLink(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := bareScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	n2 := s.Node("n2")
	const theirs = "ip tuntap add warren0 mode tun; ip address add 192.168.77.1/24 dev warren0; ip link set warren0 up; " +
		"ip route add 192.168.78.0/24 via 192.168.77.2 dev warren0"
	run(ctx, t, &n2.Host, "", "sh", "-ec", theirs)
	link := func() string {
		return run(ctx, t, &n2.Host, "", "ip", "-details", "address", "show", "dev", "warren0") +
			run(ctx, t, &n2.Host, "", "ip", "route", "show", "dev", "warren0")
	}
	before := link()
	s.startAgent(ctx, t, s.Node("n1"))
	s.addPodByHand(ctx, t, n2, "p1") // its agent gives none a network
	if err := n2.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	s.addPod(ctx, t, s.Node("n1"), "p1")
	const said = "link warren0 is not Warren's"
	eventually(ctx, t, 20*time.Second, func() error { return saysProblem(ctx, n2, said) })
	wantLogged(t, n2, said)
	if got := ask(ctx, t, n2, "/healthz"); got != "ok\n" {
		t.Errorf("/healthz: %q, want ok: the process serves", got)
	}
	if out, err := n2.Command(ctx, "warren", "status").CombinedOutput(); err == nil || !strings.Contains(string(out), said) {
		t.Errorf("warren status: %v, want it to say %q:\n%s", err, said, out)
	}
	for _, to := range s.pod("n1").Addresses {
		unreachableAtOnce(ctx, t, &s.pod("n2").Host, to)
		refusedAtOnce(ctx, t, &n2.Host, to)
	}
	if diff := cmp.Diff(before, link()); diff != "" {
		t.Errorf("the link that is not ours changed (-before +after):\n%s", diff)
	}
	run(ctx, t, &n2.Host, "", "ip", "link", "delete", "warren0")
	took := eventually(ctx, t, 5*time.Second, func() error {
		// One way after the other: see meshed.
		return errors.Join(pingFrom(ctx, s.pod("n1"), s.pod("n2")), pingFrom(ctx, s.pod("n2"), s.pod("n1")))
	})
	t.Logf("meshed %s after the link was gone", took.Round(time.Millisecond))
	if err := n2.WaitReady(ctx); err != nil {
		t.Error(err)
	}

	// Once more, where the other node has it as a peer.
	if err := n2.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	run(ctx, t, &n2.Host, "", "sh", "-ec", "ip link delete warren0; "+theirs)
	if err := n2.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 20*time.Second, func() error { return saysProblem(ctx, n2, said) })
	notReached(ctx, t, &s.pod("n1").Host, s.pod("n2"))
	for _, to := range s.pod("n1").Addresses {
		unreachableAtOnce(ctx, t, &s.pod("n2").Host, to)
		refusedAtOnce(ctx, t, &n2.Host, to)
	}
	s.sealed(ctx, t)
}

func pingFrom(ctx context.Context, from, to *lab.Pod) error {
	_, err := lab.Matrix(ctx, []*lab.Host{&from.Host}, to.Addresses, quickPing)
	return err
}

// TestInterfaceIsTheUplink: --interface names the node's own link to the world. The agent says so, and the node's network goes on.
func TestInterfaceIsTheUplink(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual}, "n2")
	n1, n2 := s.Node("n1"), s.Node("n2")
	before := run(ctx, t, &n2.Host, "", "ip", "-details", "address", "show", "dev", "eth0")
	if err := n2.StartAgent(ctx, "--interface", "eth0"); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 20*time.Second, func() error { return saysProblem(ctx, n2, "link eth0 is not Warren's") })
	for _, way := range [][2]*lab.Node{{n1, n2}, {n2, n1}} {
		for _, check := range []lab.Check{lab.ByPing, lab.ByTCP, lab.ByUDP} {
			if err := check(ctx, &way[0].Host, way[1].Addresses[0]); err != nil {
				t.Errorf("the agent took the node's network away: %v", err)
			}
		}
	}
	for _, to := range s.pod("n1").Addresses {
		unreachableAtOnce(ctx, t, &s.pod("n2").Host, to)
	}
	if diff := cmp.Diff(before, run(ctx, t, &n2.Host, "", "ip", "-details", "address", "show", "dev", "eth0")); diff != "" {
		t.Errorf("the node's own link changed (-before +after):\n%s", diff)
	}
	if err := n2.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	s.startAgent(ctx, t, n2)
	s.meshed(ctx, t)
	s.sealed(ctx, t)
}

// saysProblem wants the agent's /readyz to answer that it is not ready, with this text.
func saysProblem(ctx context.Context, n *lab.Node, text string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.MetricsAddress+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body := make([]byte, 4096)
	count, _ := response.Body.Read(body) // what is missing is not found below
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body[:count]), text) {
		return fmt.Errorf("/readyz: %s: %s, want it to say %q", response.Status, body[:count], text)
	}
	return nil
}
