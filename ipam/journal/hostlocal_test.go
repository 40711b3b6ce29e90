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
