package journal

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/ipam"
)

var (
	now    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	source = ipam.NodeCIDRs{netip.MustParsePrefix("10.244.3.0/24"), netip.MustParsePrefix("fd00:10:244:3::/64")}
	equal  = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
)

func none() ([]ipam.Lease, error) { return nil, nil }

func request(n int) ipam.Request {
	return ipam.Request{
		Key: ipam.Key{ContainerID: fmt.Sprintf("c%d", n), Interface: "eth0"}, Network: "warren", NetNS: "/run/netns/x",
		Pod: ipam.Pod{Namespace: "default", Name: fmt.Sprintf("p%d", n), UID: "u"},
	}
}

func open(tb testing.TB, dir string, options Options) *Store {
	tb.Helper()
	s, err := Open(dir, none, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func sorted(leases []ipam.Lease) []ipam.Lease {
	slices.SortFunc(leases, func(a, b ipam.Lease) int { return strings.Compare(a.ContainerID, b.ContainerID) })
	return leases
}

func TestLeasesOutliveTheStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for i := range 20 {
		if _, fresh, err := s.Allocate(request(i), source, now); err != nil || !fresh {
			t.Fatal(fresh, err)
		}
	}
	again, fresh, err := s.Allocate(request(3), source, now)
	if err != nil || fresh || again.Addresses[0].String() != "10.244.3.5" || again.Addresses[1].String() != "fd00:10:244:3::5" {
		t.Errorf("the same again: %v, fresh %v, %v", again.Addresses, fresh, err)
	}
	for _, i := range []int{7, 2} {
		if released, err := s.Release(request(i).Key, now); err != nil || !released {
			t.Fatal(released, err)
		}
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	want, freed := sorted(s.Leases()), s.table.Freed()
	if _, err := Open(dir, none, Options{}); err == nil || !strings.Contains(err.Error(), "does another agent run") {
		t.Errorf("a second agent: %v", err)
	}
	for range 2 { // the second time from a journal written anew
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		if diff := cmp.Diff(want, sorted(s.Leases()), equal); diff != "" {
			t.Errorf("leases (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(freed, s.table.Freed(), equal); diff != "" {
			t.Errorf("released (-before +after):\n%s", diff)
		}
		s.mu.Lock()
		if err := s.rewrite(); err != nil {
			t.Fatal(err)
		}
		s.mu.Unlock()
	}
}

func TestAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	syncs := 0
	s.onStep = func(step string) {
		if step == "sync" {
			syncs++
		}
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, _, err := s.Allocate(request(i), source, now); err != nil {
				t.Error(err)
			}
			if err := s.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("100 leases at the same time: %d syncs", syncs)
	seen := map[netip.Addr]bool{}
	for _, l := range s.Leases() {
		for _, a := range l.Addresses {
			seen[a] = true
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d addresses, want 200", len(seen))
	}
}

// TestTheJournalStaysShort: a node that makes and deletes pods for ever has no journal that grows for ever.
func TestTheJournalStaysShort(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	at := now
	for i := range 5000 {
		at = at.Add(time.Minute)
		if _, _, err := s.Allocate(request(i), source, at); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Release(request(i).Key, at); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(s.Path())
	if err != nil || info.Size() > 1<<20 {
		t.Errorf("the journal has %d bytes, %v", info.Size(), err)
	}
}

func BenchmarkAllocate(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	at := now
	for b.Loop() {
		at = at.Add(time.Minute)
		if _, _, err := s.Allocate(request(1), source, at); err != nil {
			b.Fatal(err)
		}
		if err := s.Sync(); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Release(request(1).Key, at); err != nil {
			b.Fatal(err)
		}
	}
}
