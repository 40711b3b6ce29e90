package journal

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

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

func TestForeignFiles(t *testing.T) {
	line := func(r record) string {
		text, err := appendRecord(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := ipam.Lease{Request: request(1), Addresses: []netip.Addr{netip.MustParseAddr("10.244.3.2")}}
	second := first
	second.Key = request(2).Key
	for name, tt := range map[string]struct{ content, want string }{
		"empty":                    {"", "it is no journal"},
		"of another version":       {"warren-leases 2\n", "it is no journal"},
		"somebody else's":          {"{}\n", "it is no journal"},
		"a line torn amidst":       {header + line(record{Grant: &first})[:20] + "\n" + line(record{Grant: &second}), "it is corrupt at byte 16"},
		"an address twice":         {header + line(record{Grant: &first}) + line(record{Grant: &second}), "leased already"},
		"a lease without address":  {header + line(record{Grant: &ipam.Lease{Addresses: []netip.Addr{{}}}}), "has no address"},
		"a leased address as free": {header + line(record{Grant: &first}) + line(record{Freed: []ipam.Freed{{Address: first.Addresses[0]}}}), "leased already"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		if err := os.WriteFile(path, []byte(tt.content), fileMode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, none, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q and the path", name, err, tt.want)
		}
		if kept, err := os.ReadFile(path); err != nil || string(kept) != tt.content {
			t.Errorf("%s: the file is %q, %v", name, kept, err)
		}
	}
	for name, put := range map[string]func(path string) error{
		"it is a symbolic link":    func(path string) error { return os.Symlink("/etc/hostname", path) },
		"it is not a regular file": func(path string) error { return unix.Mkfifo(path, 0o600) },
		"it has mode 0644":         func(path string) error { return os.WriteFile(path, []byte(header), 0o644) },
		"it has 67108865 bytes, more": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, MaxSize+1))
		},
	} {
		dir := t.TempDir()
		if err := put(filepath.Join(dir, FileName)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, none, Options{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
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

func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8k"); err != nil {
		t.Skip("mounting a tmpfs needs root:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	s := open(t, dir, Options{})
	var err error
	last := 0
	for ; err == nil && last < 100; last++ {
		_, _, err = s.Allocate(request(last), source, now)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("a full disk: %v", err)
	}
	if _, ok := s.Lease(request(last - 1).Key); ok {
		t.Error("a lease holds that could not be written")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(open(t, dir, Options{}).Leases()); got != last-1 {
		t.Errorf("%d leases, want %d", got, last-1)
	}
}

func TestLeasesOfHostLocal(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"cbr0/10.244.3.2": "abc\r\neth0", "cbr0/fd00:10:244:3::2": "abc\r\neth0", "cbr0/10.244.3.7": "def\neth0\n",
		"cbr0/10.244.3.9": "old", "cbr0/last_reserved_ip.0": "10.244.3.7", "cbr0/lock": "", "other/10.99.0.4": "abc\r\nnet1",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.TempDir(), func() ([]ipam.Lease, error) { return HostLocal(dir) }, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	got := map[string]string{}
	for _, l := range s.Leases() {
		got[l.ContainerID+" "+l.Interface] = fmt.Sprint(l.Addresses, " ", l.Network)
	}
	want := map[string]string{
		"abc eth0": "[10.244.3.2 fd00:10:244:3::2] cbr0", "def eth0": "[10.244.3.7] cbr0", "old ": "[10.244.3.9] cbr0", "abc net1": "[10.99.0.4] other",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
	lease, _, err := s.Allocate(request(1), source, now)
	if err != nil || lease.Addresses[0].String() != "10.244.3.3" || lease.Addresses[1].String() != "fd00:10:244:3::3" {
		t.Errorf("the next lease: %v, %v", lease.Addresses, err)
	}
	if leases, err := HostLocal(filepath.Join(dir, "none")); err != nil || len(leases) != 0 {
		t.Errorf("no folder: %v, %v", leases, err)
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

// TestReplacedFiles: a journal that somebody removes, truncates or replaces while the agent runs is written anew, from what the agent knows.
func TestReplacedFiles(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 20) },
		"replaced": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte(header), fileMode))
		},
		"appended": func(path string) error {
			content, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, append(content, "x"...), fileMode))
		},
	} {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		for i := range 3 {
			if _, _, err := s.Allocate(request(i), source, now); err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				if err := change(s.Path()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Sync(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if leases := open(t, dir, Options{}).Leases(); len(leases) != 3 {
			t.Errorf("%s: %d leases, want 3", name, len(leases))
		}
	}
}
