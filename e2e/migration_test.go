package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/socket"
)

// podsBefore is where Flannel's pods are.
const podsBefore = "--pod-interfaces=cni0"

// migration is a cluster under way from Flannel.
type migration struct {
	*scene
	from         flannel
	carriers     []*os.Process // of what goes by that network
	flows, hosts []*migratingFlow
	// encrypted says since when a node sends to another by WireGuard only, by both names.
	encrypted map[[2]string]time.Time
}

// TestMigration: a cluster on Flannel's layout becomes Warren's node by node. No pod is started anew, no packet between any two is lost, and of
// two nodes that have moved nothing is in clear.
func TestMigration(t *testing.T) {
	for name, from := range map[string]flannel{"vxlan": flannelVXLAN, "wireguard": flannelWireGuard} {
		t.Run(name, func(t *testing.T) { migrate(t, from) })
	}
}

// named are the names of its links, in alphabetical order.
func (f flannel) named() []string { return slices.Sorted(maps.Values(f.links)) }

// migrating is the switch.
func (f flannel) migrating() string { return "--migrate-from=" + strings.Join(f.named(), ",") }

func migrate(t *testing.T, from flannel) {
	t.Helper()
	ctx := testContext(t)
	s, carriers := flannelScene(ctx, t, from)
	m := &migration{scene: s, from: from, carriers: carriers, encrypted: map[[2]string]time.Time{}}
	for _, n := range m.Nodes() {
		for _, name := range []string{"p1", "p2", "short"} {
			m.addPod(ctx, t, n, name)
		}
	}
	m.meshed(ctx, t)
	m.begin(ctx, t)
	tcp := m.dial(ctx, t)

	for i, n := range m.Nodes() {
		smooth := m.stutter(t)
		m.startAgent(ctx, t, n, from.migrating(), podsBefore)
		// Flannel's configuration is the first still: its pods and ours get addresses of the same CIDRs for a while.
		m.addPod(ctx, t, n, "late")
		m.connected(ctx, t)
		if err := os.Remove(flannelFile(n)); err != nil {
			t.Fatal(err)
		}
		m.addPod(ctx, t, n, "new")
		m.movedAmong(ctx, t, m.Nodes()[:i+1])
		smooth()
		m.connected(ctx, t)
		if i == 1 {
			m.again(ctx, t)
		}
	}
	m.allMoved(ctx, t)
	m.nothingDropped(ctx, t)
	m.deletedByNow(ctx, t)
	m.distinct(t)
	end(t, m.hosts)
	m.beginHosts(ctx, t)

	for i, n := range m.Nodes() {
		if i == 0 {
			m.offTooEarly(ctx, t, n)
		}
		run(ctx, t, &n.Host, "", "sh", "-ec", "for link; do ip link del $link; done", "sh", from.links[true], from.links[false])
	}
	for _, n := range m.Nodes() {
		if err := n.StopAgent(ctx); err != nil {
			t.Fatal(err)
		}
		m.startAgent(ctx, t, n, podsBefore)
	}
	m.connected(ctx, t)
	m.normal(ctx, t)
	end(t, m.hosts)
	end(t, m.flows)
	// Now that it can crowd nobody out.
	tcp.exchange(t, 8<<20)
	for _, size := range []int{1372, 1432, 8000} {
		if err := m.pod("n1").Reach(ctx, m.pod("n3").Address(true), "udp", size); err != nil {
			t.Errorf("datagrams of %d bytes: %v", size, err)
		}
	}
	m.judge(ctx, t)
}

// patientPing is for packets that may wait where the network before stutters.
var patientPing lab.Check = func(ctx context.Context, from *lab.Host, to netip.Addr) error {
	return from.Ping(ctx, to, lab.PingOptions{Timeout: 5 * time.Second})
}

// connected has every pod and node reach every pod.
func (m *migration) connected(ctx context.Context, t *testing.T) {
	t.Helper()
	pods := lab.PodHosts(m.Pods())
	for _, c := range []struct {
		from []*lab.Host
		by   lab.Check
	}{{pods, patientPing}, {lab.NodeHosts(m.Nodes()), patientPing}, {pods, lab.ByTCP}} {
		eventually(ctx, t, 20*time.Second, func() error {
			_, err := lab.Matrix(ctx, c.from, lab.Addresses(pods), c.by)
			return err
		})
	}
}

// status is what a node's agent says.
func status(ctx context.Context, n *lab.Node) (s socket.Status, err error) {
	out, err := n.Run(ctx, "warren", "status", "-o", "json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// movedAmong waits until these nodes send to each other by WireGuard only, and notes since when.
func (m *migration) movedAmong(ctx context.Context, t *testing.T, nodes []*lab.Node) {
	t.Helper()
	took := eventually(ctx, t, 30*time.Second, func() error {
		var errs []error
		for _, n := range nodes {
			s, err := status(ctx, n)
			now := time.Now()
			errs = append(errs, err)
			for _, other := range nodes {
				pair := [2]string{n.Name, other.Name}
				switch {
				case other == n || err != nil:
				case slices.Contains(s.InClear, other.Name):
					errs = append(errs, fmt.Errorf("%s still sends to %s in clear", n.Name, other.Name))
				case m.encrypted[pair].IsZero():
					m.encrypted[pair] = now
				}
			}
		}
		return errors.Join(errs...)
	})
	t.Logf("%d nodes have moved after %s", len(nodes), took.Round(time.Millisecond))
	for _, n := range m.Nodes()[len(nodes):] {
		s, err := status(ctx, nodes[0])
		if err != nil || !slices.Contains(s.InClear, n.Name) || s.InClearPackets == 0 {
			t.Errorf("%s is not moved, and the status says %q, %d packets, %v", n.Name, s.InClear, s.InClearPackets, err)
		}
	}
}

// again kills an agent, which another follows: nobody is sent to in clear again.
func (m *migration) again(ctx context.Context, t *testing.T) {
	t.Helper()
	n := m.Node("n1")
	if err := n.KillAgent(); err != nil {
		t.Fatal(err)
	}
	m.startAgent(ctx, t, n, m.from.migrating(), podsBefore)
	if s, err := status(ctx, n); err != nil || !slices.Equal(s.InClear, []string{"n3"}) {
		t.Errorf("after a restart the status says %q, %v", s.InClear, err)
	}
}

// allMoved waits until no node says that it sends in clear, and no guard lets that through though the switch is on.
func (m *migration) allMoved(ctx context.Context, t *testing.T) {
	t.Helper()
	eventually(ctx, t, 30*time.Second, func() error {
		for _, n := range m.Nodes() {
			if got := run(ctx, t, &n.Host, "", "nft", "list", "table", "inet", "warren-mesh"); strings.Contains(sets(got, "oldto")+sets(got, "oldfrom"), "elements") {
				return fmt.Errorf("%s: the guard leaves something open:\n%s", n.Name, got)
			}
		}
		return nil
	})
	for _, n := range m.Nodes() {
		out := run(ctx, t, &n.Host, "", "warren", "status")
		if want := "migrated from: " + strings.Join(m.from.named(), ", ") + "\n  in clear to: no node"; !strings.Contains(out, want) {
			t.Errorf("%s: want %q:\n%s", n.Name, want, out)
		}
	}
}

// sets are the definitions of a table's sets that begin so.
func sets(table, beginning string) (text string) {
	for _, part := range strings.Split(table, "\tset ")[1:] {
		body, _, _ := strings.Cut(part, "\n\t}")
		if strings.HasPrefix(part, beginning) {
			text += body
		}
	}
	return text
}

// deletedByNow deletes pods of Flannel's, by the configuration that is there now.
func (m *migration) deletedByNow(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range m.Nodes() {
		p := n.Pod("short")
		if err := errors.Join(p.Reconfigure(), p.Remove()); err != nil {
			t.Errorf("DEL: %v", err)
		}
		files := run(ctx, t, &n.Host, "", "ls", "/var/lib/cni/networks/cbr0")
		leases := run(ctx, t, &n.Host, "", "warren", "ipam", "show", "-o", "json")
		for _, a := range p.Addresses {
			if slices.Contains(strings.Fields(files), a.String()) || strings.Contains(leases, fmt.Sprintf("%q", a)) {
				t.Errorf("%s: %s is in use still: %s\n%s", n.Name, a, files, leases)
			}
		}
		if left := run(ctx, t, &n.Host, "", "bridge", "link"); strings.Count(left, "master cni0") != 3 {
			t.Errorf("%s: want three links on the bridge:\n%s", n.Name, left)
		}
	}
}

// distinct fails the test where two pods have an address in common, or one is not of its node's.
func (m *migration) distinct(t *testing.T) {
	t.Helper()
	seen := map[netip.Addr]string{}
	for _, p := range m.Pods() {
		for i, a := range p.Addresses {
			if other, ok := seen[a]; ok || !p.Node.PodCIDRs[i].Contains(a) {
				t.Errorf("%s has %s, of %s; and %s", p.Name, a, p.Node.PodCIDRs, other)
			}
			seen[a] = p.Name
		}
	}
}

// normal wants nodes as they would be if there had never been another network, but for its pods.
func (m *migration) normal(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range m.Nodes() {
		got := run(ctx, t, &n.Host, "", "sh", "-ec", "ip rule; ip route show table 87 2>/dev/null; ip -6 route show proto 87 metric 87; nft list table inet warren-mesh")
		for _, left := range []string{"8787", "table 87", "warren0 proto 87 src", "flannel", "oldto"} {
			if strings.Contains(got, left) {
				t.Errorf("%s: %s is left:\n%s", n.Name, left, got)
			}
		}
		if got := run(ctx, t, &n.Host, "", "ip", "route", "show", "dev", "warren0"); strings.Count(got, "proto 87") != 2 {
			t.Errorf("%s: the main table has %s", n.Name, got)
		}
	}
	for _, node := range m.Nodes() {
		object, err := m.Cluster().Admin().CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
		if err != nil || object.Annotations["warren.dev/migrating"] != "" {
			t.Errorf("%s says that it is migrating (%v)", node.Name, err)
		}
	}
}

// offTooEarly takes the switch away while Flannel's links are there: their routes are in the way of ours, which is said, and nobody is cut off.
func (m *migration) offTooEarly(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	if err := errors.Join(n.StopAgent(ctx), n.StartAgent(ctx, podsBefore)); err != nil {
		t.Fatal(err)
	}
	if m.from.routed {
		eventually(ctx, t, 20*time.Second, func() error { return saysProblem(ctx, n, "file exists") })
	}
	m.connected(ctx, t)
}

// nothingDropped wants the guards to have let everything through by the one way or the other.
func (m *migration) nothingDropped(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range m.Nodes() {
		for _, counter := range []string{"clear", "foreign", "podspoof", "spoofed", "transit"} {
			if dropped := droppedBy(ctx, t, n, "warren-mesh", counter); dropped > 0 {
				t.Errorf("%s has dropped %d packets: %s", n.Name, dropped, counter)
			}
		}
	}
}
