package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// How long what somebody else did may last: the kernel tells of most things at once, and of WireGuard's own never.
const (
	told   = time.Second
	untold = 5 * time.Second
)

// handFault is something that an administrator's hand does to n1, and the parts of the kernel's state that it is counted as, once each.
type handFault struct {
	name   string
	within time.Duration
	parts  string
	do     string
}

// TestByHand does to a node what an administrator's hand may do, one thing after the other, under traffic of pods and of the node itself:
// packets come through again in time, each is counted once and told by one Event, and nothing leaves in clear meanwhile.
func TestByHand(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pace.Scale(5*time.Minute))
	defer cancel()
	s := newScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n1, n2, n3 := s.Node("n1"), s.Node("n2"), s.Node("n3")
	key2, key3 := publicKey(ctx, t, n2), publicKey(ctx, t, n3)
	ipv4, ipv6 := n2.PodCIDRs[0].String(), n2.PodCIDRs[1].String()
	own3 := strings.Join(prefixTexts(n3.PodCIDRs), ",")
	faults := []handFault{
		{"route deleted", told, "route", "ip route delete " + ipv4},
		{"route of IPv6 deleted", told, "route", "ip -6 route delete " + ipv6},
		{"address removed", told, "address", "ip address delete " + n1.MeshAddresses[0].String() + "/32 dev warren0"},
		{"address of IPv6 removed", told, "address", "ip address delete " + n1.MeshAddresses[1].String() + "/128 dev warren0"},
		{"link down", told, "address", "ip link set warren0 down"},
		{"MTU changed", told, "address", "ip link set warren0 mtu 1280"},
		{"nft flushed", told, "guard policy", "nft flush ruleset"},
		{"guard deleted", told, "guard", "nft delete table inet warren-mesh"},
		{"policy deleted", told, "policy", "nft delete table inet warren-policy"},
		{"policy flushed", told, "policy", "nft flush table inet warren-policy"},
		{"a pod's rules deleted", told, "policy", "nft flush map inet warren-policy ingress"},
		{"forwarding off", told, "forwarding", "sysctl -q -w net.ipv4.ip_forward=0"},
		{"forwarding of IPv6 off", told, "forwarding", "sysctl -q -w net.ipv6.conf.all.forwarding=0"},
		{"device deleted", told, "wireguard", "ip link delete warren0"},
		{"peer removed", untold, "wireguard", "wg set warren0 peer " + key2 + " remove"},
		{"allowed IP moved", untold, "wireguard", "wg set warren0 peer " + key3 + " allowed-ips " + ipv4 + "," + own3},
		{"allowed IP of IPv6 moved", untold, "wireguard", "wg set warren0 peer " + key3 + " allowed-ips " + ipv6 + "," + own3},
		{"allowed IP added", untold, "wireguard", "wg set warren0 peer " + key3 + " allowed-ips 0.0.0.0/0,::/0," + own3},
	}
	want := 0
	for _, fault := range faults {
		want += len(strings.Fields(fault.parts))
		t.Run(fault.name, func(t *testing.T) { s.byHand(ctx, t, fault) })
	}
	t.Run("default routes by the underlay", func(t *testing.T) { s.defaultRoutes(ctx, t) })
	drifts := driftsOf(ctx, t, n1)
	total := 0
	for _, count := range drifts {
		total += count
	}
	if total != want {
		t.Errorf("drifts counted in all: %v, want %d", drifts, want)
	}
	s.sealed(ctx, t)
}

// byHand does one fault under traffic.
func (s *scene) byHand(ctx context.Context, t *testing.T, fault handFault) {
	t.Helper()
	n1 := s.Node("n1")
	want, before := driftsOf(ctx, t, n1), s.driftEvents(ctx, t, n1)
	parts := strings.Fields(fault.parts)
	for _, part := range parts {
		want[part]++
	}
	traffic := s.traffic(ctx, t)
	start := time.Now()
	run(ctx, t, &n1.Host, "", "sh", "-c", fault.do)
	eventually(ctx, t, fault.within+grace, func() error {
		if got := driftsOf(ctx, t, n1); !maps.Equal(got, want) {
			return fmt.Errorf("drifts counted by part: %v, want %v", got, want)
		}
		return nil
	})
	took := time.Since(start)
	pause(ctx, quietly) // What is put right is not counted again, and traffic goes on.
	limit := pace.Scale(fault.within)
	for name, result := range stopAll(traffic) {
		t.Logf("%s: %s", name, result)
		if result.Received == 0 || result.LongestGap > limit {
			t.Errorf("%s: %s, want no gap above %s", name, result, limit)
		}
	}
	if got := driftsOf(ctx, t, n1); !maps.Equal(got, want) {
		t.Errorf("drifts counted by part: %v, want %v", got, want)
	}
	eventually(ctx, t, 5*time.Second, func() error { return oneEventEach(before, s.driftEvents(ctx, t, n1), parts) })
	t.Logf("counted within %s", took.Round(time.Millisecond))
}

// quietly is how long nothing more may happen after a fault.
const quietly = time.Second

// grace is what the looking itself may take on a busy machine.
const grace = 5 * time.Second

// traffic begins between a pod of n1 and one of n2, and from n1 itself to the latter, in each family.
func (s *scene) traffic(ctx context.Context, t *testing.T) map[string]*lab.Stream {
	t.Helper()
	streams := map[string]*lab.Stream{}
	for _, from := range []*lab.Host{&s.pod("n1").Host, &s.Node("n1").Host} {
		for _, to := range s.pod("n2").Addresses {
			stream, err := from.Stream(ctx, to, streamInterval, 64)
			if err != nil {
				t.Fatal(err)
			}
			streams[from.Name+" to "+to.String()] = stream
		}
	}
	pause(ctx, quietly)
	return streams
}

// stopAll ends streams at the same time: each waits for what is under way.
func stopAll(streams map[string]*lab.Stream) map[string]lab.StreamResult {
	var mu sync.Mutex
	var wait sync.WaitGroup
	results := map[string]lab.StreamResult{}
	for name, stream := range streams {
		wait.Go(func() {
			result := stream.Stop()
			mu.Lock()
			defer mu.Unlock()
			results[name] = result
		})
	}
	wait.Wait()
	return results
}

// defaultRoutes adds what may take everything away from the lane: nothing of it is drift, and neither pods nor the node itself notice.
func (s *scene) defaultRoutes(ctx context.Context, t *testing.T) {
	t.Helper()
	n1 := s.Node("n1")
	drifts, events := driftsOf(ctx, t, n1), s.driftEvents(ctx, t, n1)
	traffic := s.traffic(ctx, t)
	ways := []string{"ip route %s default via 172.30.0.1 metric 7", "ip -6 route %s default via fe80::30:1 dev eth0 metric 7"}
	for _, way := range ways {
		run(ctx, t, &n1.Host, "", "sh", "-c", fmt.Sprintf(way, "add"))
	}
	pause(ctx, untold) // The device is read meanwhile.
	for _, to := range s.pod("n2").Addresses {
		if out := run(ctx, t, &n1.Host, "", "ip", "route", "get", to.String()); !strings.Contains(out, " dev warren0 ") {
			t.Errorf("the way to %s is no longer by the lane: %s", to, out)
		}
	}
	for _, nobody := range []string{"10.244.250.2", "fd00:10:244:fa::2"} {
		refusedAtOnce(ctx, t, &n1.Host, netip.MustParseAddr(nobody))
		unreachableAtOnce(ctx, t, &s.pod("n1").Host, netip.MustParseAddr(nobody))
	}
	for name, result := range stopAll(traffic) {
		if result.Lost > 0 || result.Received == 0 {
			t.Errorf("%s: %s, want none lost", name, result)
		}
	}
	if got := driftsOf(ctx, t, n1); !maps.Equal(got, drifts) {
		t.Errorf("drifts counted by part: %v, want %v as before", got, drifts)
	}
	if got := s.driftEvents(ctx, t, n1); !maps.Equal(got, events) {
		t.Errorf("Events of drift: %v, want %v as before", got, events)
	}
	for _, way := range ways {
		run(ctx, t, &n1.Host, "", "sh", "-c", fmt.Sprintf(way, "delete"))
	}
}

// driftEvent is one Event object: its name, and what was done.
type driftEvent struct{ name, action string }

// driftEvents are a node's Events of drift, and how often each came about as the API server knows.
func (s *scene) driftEvents(ctx context.Context, t *testing.T, n *lab.Node) map[driftEvent]int {
	t.Helper()
	all, err := s.Cluster().Admin().EventsV1().Events("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events := map[driftEvent]int{}
	for _, e := range all.Items {
		if e.Reason != "Drift" || e.Regarding.Name != n.Name {
			continue
		}
		count := 1
		if e.Series != nil {
			count = int(e.Series.Count)
		}
		events[driftEvent{e.Name, e.Action}] = count
	}
	return events
}

// oneEventEach is an error unless one Event for each of the parts, and no other, tells of one more drift: by itself, or by its series. A series
// is written at its second time, and after that only every half hour: from then on none is.
func oneEventEach(before, after map[driftEvent]int, parts []string) error {
	more := map[driftEvent]int{}
	for e, count := range after {
		if count != before[e] {
			more[e] = count - before[e]
		}
	}
	for _, part := range parts {
		ofPart := func(e driftEvent) bool { return strings.HasPrefix(e.action+",", "Restore:"+part+",") }
		inSeries := slices.ContainsFunc(slices.Collect(maps.Keys(before)), func(e driftEvent) bool { return ofPart(e) && before[e] > 1 })
		told := 0
		for e, count := range more {
			if ofPart(e) {
				told += count
				delete(more, e)
			}
		}
		if told != 1 && (told != 0 || !inSeries) {
			return fmt.Errorf("events of drift: %v, before: %v; want one more of %s", after, before, part)
		}
	}
	if len(more) > 0 {
		return fmt.Errorf("events of drift: %v, before: %v; want none but of %s", after, before, parts)
	}
	return nil
}

var driftLine = regexp.MustCompile(`(?m)^warren_drift_total\{part="([a-z]+)"\} (\d+)$`)

// driftsOf is how many drifts a node's agent has counted, by part.
func driftsOf(ctx context.Context, t *testing.T, n *lab.Node) map[string]int {
	t.Helper()
	drifts := map[string]int{}
	for _, match := range driftLine.FindAllStringSubmatch(scrape(ctx, t, n), -1) {
		count, err := strconv.Atoi(match[2])
		if err != nil {
			t.Fatal(err)
		}
		if count > 0 {
			drifts[match[1]] = count
		}
	}
	return drifts
}
