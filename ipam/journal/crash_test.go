package journal

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/ipam"
)

// errCrash is what a step ends with at which the agent is killed.
var errCrash = errors.New("killed")

// TestKilledAtEachStep kills the agent before each write, sync and rename of some leases' life. What was answered for holds in the next
// one's journal, and no address is held twice.
func TestKilledAtEachStep(t *testing.T) {
	for kill, ended := 0, false; !ended; kill++ {
		dir := t.TempDir()
		left, where := kill, ""
		answered := map[ipam.Key]ipam.Lease{}
		ended = live(dir, answered, func(step string) {
			if left--; left < 0 && where == "" {
				where = step
				panic(errCrash) //nolint:forbidigo // as a process that is killed
			}
		})
		s, err := Open(dir, none, Options{})
		if err != nil {
			t.Fatalf("killed before step %d (%s): %v", kill, where, err)
		}
		held := map[netip.Addr]bool{}
		for _, l := range s.Leases() {
			for _, a := range l.Addresses {
				if held[a] {
					t.Errorf("killed before step %d (%s): %s is held twice", kill, where, a)
				}
				held[a] = true
			}
		}
		for k, want := range answered {
			if got, ok := s.Lease(k); !ok || !slices.Equal(got.Addresses, want.Addresses) {
				t.Errorf("killed before step %d (%s): %v has %v, and was told %v", kill, where, k, got.Addresses, want.Addresses)
			}
		}
		_ = s.Close()
		if kill > 100 {
			t.Fatal("it never ends")
		}
	}
}

// live is some leases' life, to the end or until onStep panics.
func live(dir string, answered map[ipam.Key]ipam.Lease, onStep func(string)) (ended bool) {
	var s *Store
	defer func() {
		if r := recover(); r != nil && r != any(errCrash) {
			panic(r) //nolint:forbidigo // not ours
		}
		if s != nil {
			_ = s.folder.Close() // as the kernel does for a process that is gone
		}
	}()
	s = &Store{dir: dir, onStep: onStep}
	if s.lock() != nil || s.load() == nil || s.begin(none) != nil {
		return false
	}
	for i := range 6 {
		lease, _, err := s.Allocate(request(i), source, now)
		if err != nil || s.Sync() != nil {
			return false
		}
		answered[lease.Key] = lease
		if i%2 == 1 {
			delete(answered, request(i-1).Key)
			if _, err := s.Release(request(i-1).Key, now); err != nil {
				return false
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rewrite() == nil
}

// TestTornAtEachByte cuts a journal everywhere: what is whole is used, and what is torn is gone from the file.
func TestTornAtEachByte(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for i := range 4 {
		if _, _, err := s.Allocate(request(i), source, now); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	for size := len(header); size <= len(content); size++ {
		torn := t.TempDir()
		if err := os.WriteFile(filepath.Join(torn, FileName), content[:size], fileMode); err != nil {
			t.Fatal(err)
		}
		s, err := Open(torn, none, Options{})
		if err != nil {
			t.Fatalf("cut after %d bytes: %v", size, err)
		}
		if got, want := len(s.Leases()), strings.Count(string(content[len(header):size]), "\n"); got != want {
			t.Fatalf("cut after %d bytes: %d leases, want %d", size, got, want)
		}
		if _, _, err := s.Allocate(request(9), source, now); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		again, err := os.ReadFile(filepath.Join(torn, FileName))
		if _, whole, _, derr := decode(again); err != nil || derr != nil || whole != len(again) {
			t.Fatalf("cut after %d bytes: the next journal is %q: %v", size, again, derr)
		}
	}
}
