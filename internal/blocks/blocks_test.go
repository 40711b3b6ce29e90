package blocks

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

const idle = 10 * time.Minute

// server is an API server: what is claimed, and what of that it has told of.
type server struct {
	mu         sync.Mutex
	away       error
	pools      []ipam.Pool
	reserved   []netip.Prefix
	real, told []ipam.Block
}

func (s *server) ClaimBlock(_ context.Context, b ipam.Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return s.away
	}
	for i, o := range s.real {
		switch {
		case o.CIDR != b.CIDR:
		case o.Node != b.Node:
			return fmt.Errorf("claiming %s: %w", b.CIDR, kube.ErrBlockTaken)
		default:
			s.real[i].NodeUID, s.real[i].Freed = b.NodeUID, time.Time{}
			return nil
		}
	}
	b.Created = time.Now()
	s.real = append(s.real, b)
	return nil
}

func (s *server) ReturnBlock(_ context.Context, cidr netip.Prefix) error { return s.drop(cidr) }

func (s *server) LetGoBlock(_ context.Context, cidr netip.Prefix, _ time.Time) error {
	return s.drop(cidr)
}

func (s *server) drop(cidr netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away == nil {
		s.real = slices.DeleteFunc(s.real, func(b ipam.Block) bool { return b.CIDR == cidr })
	}
	return s.away
}

// change is done by somebody else.
func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// free has the API server begin to delete a node's blocks.
func (s *server) free(node string) {
	s.change(func() {
		for i := range s.real {
			if s.real[i].Node == node {
				s.real[i].Freed = time.Now()
			}
		}
	})
}

// tell has everybody hear of what is.
func (s *server) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = slices.Clone(s.real)
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.real)
}

// held are the blocks of a node, in their order.
func (s *server) held(node string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, b := range s.real {
		if b.Node == node && b.Freed.IsZero() {
			texts = append(texts, b.CIDR.String())
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

// member is a node with a Keeper, in a synctest bubble.
type member struct {
	*Keeper
	server *server
	leases *journal.Store
	name   string
	uid    string
	loop   *loop.Runner
	last   error
}

func newServer() *server {
	return &server{pools: []ipam.Pool{{
		Name: "main", CIDR: netip.MustParsePrefix("10.64.0.0/26"), BlockSize: 29, Nodes: labels.Everything(), Pods: true, MeshAddresses: true,
	}}}
}

func (s *server) join(t *testing.T, name string) *member {
	t.Helper()
	leases, err := journal.Open(t.TempDir(), func() ([]ipam.Lease, error) { return nil, nil }, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leases.Close() })
	m := &member{server: s, leases: leases, name: name, uid: "uid-" + name}
	m.loop = loop.New(func(ctx context.Context) error { return m.Tend(ctx) }, loop.Options{
		Max: Interval, RetryMin: time.Second, OnResult: func(_ time.Duration, err error) { m.last = err },
	})
	m.Keeper = New(ipam.Supply{}, Options{
		API: s, Leases: leases, Trigger: m.loop.Trigger, OnChange: func(string, ipam.Block) {}, Known: m.known, Idle: idle, Mesh: func() []netip.Addr { return nil },
	})
	go m.loop.Run(t.Context())
	synctest.Wait()
	return m
}

func (m *member) known() ipam.Ledger {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	return ipam.Ledger{
		Node: m.name, UID: m.uid, Cluster: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/10")},
		Pools: m.server.pools, Blocks: m.server.told, Reserved: m.server.reserved,
	}
}

// sync has the node hear of everything, and its mesh carry it.
func (m *member) sync() {
	m.server.tell()
	m.loop.Trigger()
	synctest.Wait()
	var cidrs []netip.Prefix
	for _, b := range m.Held().Blocks {
		cidrs = append(cidrs, b.CIDR)
	}
	m.Carry(cidrs)
	synctest.Wait()
}

func (m *member) source(fixed ...string) ipam.Source {
	w := ipam.Wish{}
	for _, text := range fixed {
		w.Fixed = append(w.Fixed, netip.MustParseAddr(text))
	}
	return ipam.Pools{Wish: w, Supply: m.Supply}
}

// lease gives a pod an address, and the node more blocks for it, as the CNI plugin's ADD does.
func (m *member) lease(t *testing.T, container string, fixed ...string) error {
	for range 5 {
		r := ipam.Request{Key: ipam.Key{ContainerID: container, Interface: "eth0"}}
		_, _, err := m.leases.Allocate(r, m.source(fixed...), time.Now())
		var full *ipam.FullError
		if !errors.As(err, &full) {
			return err
		}
		if full.NoBlock = m.Grow(t.Context(), full.Offer); full.NoBlock != nil {
			return full
		}
	}
	return errors.New("full again and again")
}

// TestANodeHasWhatItsPodsNeed: a block at the start, more as pods come, and fewer a while after they are gone.
func TestANodeHasWhatItsPodsNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		n := s.join(t, "n1")
		if got := strings.Fields(s.held("n1")); len(got) != 1 {
			t.Fatalf("at the start it holds %v", got)
		}
		n.sync()
		n.sync()
		mesh := s.held("n1")
		for i := range 12 {
			done := make(chan error)
			go func() { done <- n.lease(t, fmt.Sprint("c", i)) }()
			for waiting := true; waiting; {
				n.sync()
				select {
				case err := <-done:
					waiting = false
					if err != nil {
						t.Fatal(err)
					}
				default:
				}
			}
		}
		if got := strings.Fields(s.held("n1")); len(got) != 3 && len(got) != 4 { // of 5 addresses each; one may be claimed in advance
			t.Errorf("for 12 pods it holds %v", got)
		}
		for i := range 12 {
			if _, err := n.leases.Release(ipam.Key{ContainerID: fmt.Sprint("c", i), Interface: "eth0"}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		n.sync()
		time.Sleep(idle - time.Minute)
		if got := strings.Fields(s.held("n1")); len(got) < 3 {
			t.Errorf("after some minutes it holds %v", got)
		}
		for range 10 {
			time.Sleep(Interval)
			n.sync()
		}
		if got := s.held("n1"); got != mesh {
			t.Errorf("at the end it holds %s, want %s", got, mesh)
		}
	})
}

// TestPodsShareABlock: many that find nothing free at the same time get one block, not one each.
func TestPodsShareABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		n := s.join(t, "n1")
		n.sync()
		n.sync()
		var wg sync.WaitGroup
		errs := make([]error, 15)
		for i := range errs {
			wg.Go(func() { errs[i] = n.lease(t, fmt.Sprint("c", i)) })
		}
		for range 10 {
			synctest.Wait()
			n.sync()
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if got := strings.Fields(s.held("n1")); len(got) > 4 {
			t.Errorf("15 pods have %d blocks of 5: %v", len(got), got)
		}
	})
}

func TestNothingLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		n1 := s.join(t, "n1")
		n1.sync()
		mesh := s.held("n1")
		s.change(func() {
			for i := range 7 {
				cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64, 0, byte(8 * i)}), 29)
				if cidr.String() != mesh {
					s.real = append(s.real, ipam.Block{CIDR: cidr, Pool: "main", Node: "n2"})
				}
			}
		})
		n1.sync()
		n1.sync()
		for i := range 5 {
			if err := n1.lease(t, fmt.Sprint("c", i)); err != nil {
				t.Fatal(err)
			}
		}
		s.change(func() {
			s.real = append(s.real, ipam.Block{CIDR: netip.MustParsePrefix("10.64.0.56/29"), Pool: "main", Node: "n2"})
		})
		// Of the last one this node has not heard.
		err := n1.lease(t, "late")
		if want := "pool main has no block left: 8 of 8 claimed"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		s.change(func() {
			s.away = errors.New("connection refused")
			s.real, s.told = s.real[:1], s.told[:1]
		})
		synctest.Wait()
		time.Sleep(2 * unseen)
		err = n1.lease(t, "later")
		if !errors.Is(err, ipam.ErrLater) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("without the API server: %v", err)
		}
	})
}

// TestTakenBack: a Node that is made anew has its blocks again, the fixed addresses of its pods among them.
func TestTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		n1, n2 := s.join(t, "n1"), s.join(t, "n2")
		n1.sync()
		n2.sync()
		n1.sync()
		go func() { _ = n1.lease(t, "db", "10.64.0.59") }()
		for range 3 {
			synctest.Wait()
			n1.sync()
		}
		before := s.held("n1")
		if !strings.Contains(before, "10.64.0.56/29") {
			t.Fatalf("it holds %s, without the block of the address that was asked for", before)
		}
		s.free("n1")
		s.change(func() { n1.uid = "" })
		n1.sync()
		n2.sync()
		if err := n2.lease(t, "thief", "10.64.0.60"); err == nil || !strings.Contains(err.Error(), "was freed by node n1 less than 10m0s ago") {
			t.Errorf("another node asks for it: %v", err)
		}
		s.change(func() { n1.uid = "uid-again" })
		n1.sync()
		if got := s.held("n1"); got != before {
			t.Errorf("it holds %s, want %s", got, before)
		}
		// Where it does not come back, others let its blocks go in the end.
		s.free("n1")
		s.change(func() { n1.uid = "" })
		n1.sync()
		n2.sync()
		time.Sleep(ipam.BlockRest + Interval)
		if got := s.held("n2"); got == "" || s.count() != 1 {
			t.Errorf("n2 holds %s, and %d blocks are there", got, s.count())
		}
	})
}
