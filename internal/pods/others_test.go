package pods

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/ipam/journal"
)

// TestAnotherPluginsPods: while another plugin hands out addresses of the same CIDR nobody gets one twice, and a pod of that plugin's that is
// deleted by our configuration loses its interface, and its address is free.
func TestAnotherPluginsPods(t *testing.T) {
	l := newLocal(t)
	dir := t.TempDir()
	l.options.Others = func() ([]ipam.Lease, error) { return journal.HostLocal(dir) }
	beside := 0
	l.options.Beside = func() error { beside++; return nil }
	theirs := l.node.sandbox(t, "theirs")
	defer theirs.close()
	file := filepath.Join(dir, "cbr0", "10.244.3.2")
	write := func(id string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(id+"\r\neth0"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write(theirs.id)
	if out, err := exec.Command("ip", "link", "add", "veththeirs", "type", "veth", "peer", "name", "eth0", "netns", theirs.path()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ours := l.node.sandbox(t, "ours")
	defer ours.close()
	l.call(t, cni.Add, ours)
	defer l.call(t, cni.Del, ours)
	lease, _ := l.options.Leases.Lease(ipam.Key{ContainerID: ours.id, Interface: "eth0"})
	if lease.Addresses[0].String() != "10.244.3.3" || beside != 1 {
		t.Errorf("our pod has %s, and who is beside it was told %d times", lease.Addresses, beside)
	}
	l.call(t, cni.Del, theirs)
	l.call(t, cni.Del, theirs)
	if out, err := exec.Command("ip", "link", "show", "veththeirs").CombinedOutput(); err == nil {
		t.Errorf("its interface is there: %s", out)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("host-local's file: %v", err)
	}
	if leases := l.options.Leases.Leases(); len(leases) != 1 {
		t.Errorf("leases: %v", leases)
	}

	// The other plugin gives an address to one after the other, and takes it back itself.
	for _, id := range []string{"one", "two"} {
		write(id)
		if err := l.importOthers(); err != nil {
			t.Fatal(err)
		}
		if _, ok := l.options.Leases.Lease(ipam.Key{ContainerID: id, Interface: "eth0"}); !ok || len(l.options.Leases.Leases()) != 2 {
			t.Errorf("%s: leases %v", id, l.options.Leases.Leases())
		}
	}
	if err := errors.Join(os.Remove(file), l.importOthers()); err != nil || len(l.options.Leases.Leases()) != 1 {
		t.Errorf("after its end: %v, leases %v", err, l.options.Leases.Leases())
	}
}
