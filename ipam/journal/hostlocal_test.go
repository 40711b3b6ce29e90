package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/ipam"
)

// writeHostLocal writes files as host-local does.
func writeHostLocal(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLeasesOfHostLocal(t *testing.T) {
	dir := t.TempDir()
	writeHostLocal(t, dir, map[string]string{
		"cbr0/10.244.3.2": "abc\r\neth0", "cbr0/fd00:10:244:3::2": "abc\r\neth0", "cbr0/10.244.3.7": "def\neth0\n",
		"cbr0/10.244.3.9": "old", "cbr0/last_reserved_ip.0": "10.244.3.7", "cbr0/lock": "", "other/10.99.0.4": "abc\r\nnet1",
	})
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

// TestImport: what host-local hands out later is nobody else's, also after the journal is read again; and what is ours stays ours.
func TestImport(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	writeHostLocal(t, dir, map[string]string{"cbr0/10.244.3.2": "abc\r\neth0"})
	read := func() []ipam.Lease {
		t.Helper()
		leases, err := HostLocal(dir)
		if err != nil {
			t.Fatal(err)
		}
		return leases
	}
	s, err := Open(folder, func() ([]ipam.Lease, error) { return read(), nil }, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ours, _, err := s.Allocate(request(1), source, now)
	if err != nil {
		t.Fatal(err)
	}
	writeHostLocal(t, dir, map[string]string{
		"cbr0/10.244.3.4": "def\r\neth0", "cbr0/fd00:10:244:3::4": "def\r\neth0", "cbr0/" + ours.Addresses[0].String(): "ghi\r\neth0",
	})
	if err := errors.Join(s.Import(read()), s.Import(read()), s.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(folder, func() ([]ipam.Lease, error) { return nil, nil }, Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if held, ok := s.Lease(ours.Key); !ok || len(s.Leases()) != 3 || held.Addresses[0] != ours.Addresses[0] {
		t.Errorf("leases: %v", s.Leases())
	}
	next, _, err := s.Allocate(request(2), source, now)
	if err != nil || next.Addresses[0].String() != "10.244.3.5" || next.Addresses[1].String() != "fd00:10:244:3::3" {
		t.Errorf("the next lease: %v, %v", next.Addresses, err)
	}
}

// TestRemoveHostLocal: a lease's files go, and no other container's.
func TestRemoveHostLocal(t *testing.T) {
	dir := t.TempDir()
	writeHostLocal(t, dir, map[string]string{"cbr0/10.244.3.2": "abc\r\neth0", "cbr0/fd00:10:244:3::2": "abc\r\neth0", "cbr0/10.244.3.7": "def\r\neth0"})
	leases, err := HostLocal(dir)
	if err != nil || len(leases) != 2 {
		t.Fatal(leases, err)
	}
	l := leases[0]
	writeHostLocal(t, dir, map[string]string{"cbr0/10.244.3.2": "new\r\neth0"}) // the address is another's by now
	if !HeldHostLocal(l) {
		t.Error("one of two addresses is there, and the lease is not held")
	}
	if err := RemoveHostLocal(l); err != nil || HeldHostLocal(l) {
		t.Errorf("removing: %v", err)
	}
	if err := RemoveHostLocal(l); err != nil {
		t.Errorf("once more: %v", err)
	}
	left, err := HostLocal(dir)
	if err != nil || len(left) != 2 || left[0].ContainerID != "new" || left[1].ContainerID != "def" {
		t.Errorf("left: %v, %v", left, err)
	}
}
