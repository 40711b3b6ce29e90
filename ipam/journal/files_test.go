package journal

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/ipam"
)

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
		"is a symbolic link":  func(path string) error { return os.Symlink("/etc/hostname", path) },
		"want a regular file": func(path string) error { return unix.Mkfifo(path, 0o600) },
		"has mode 0644":       func(path string) error { return os.WriteFile(path, []byte(header), 0o644) },
		"has 67108865 bytes, more": func(path string) error {
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
