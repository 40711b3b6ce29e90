package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const some = "/proc/sys/net/ipv4/conf/lo/arp_ignore"

func TestWrite(t *testing.T) {
	contained(t, root{}, func(t *testing.T) {
		want(t, "0")
		if err := Write(some, "8"); err != nil {
			t.Fatal(err)
		}
		want(t, "8")
		if err := Write("/proc/sys/net/ipv4/conf/gone/arp_ignore", "8"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a link that is not there: got %v", err)
		}
		if err := Write(some, "x"); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), some) {
			t.Errorf("a bad value: got %v", err)
		}
	})
}

// TestInAContainer: /proc/sys is read-only there, and the host's own is elsewhere.
func TestInAContainer(t *testing.T) {
	contained(t, root{readOnly: true}, func(t *testing.T) {
		if err := Write(some, "8"); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "/host/proc/sys/net") {
			t.Errorf("without the host's: got %v", err)
		}
		want(t, "0")
	})
	contained(t, root{readOnly: true, host: true}, func(t *testing.T) {
		if err := Write(some, "8"); err != nil {
			t.Fatal(err)
		}
		want(t, "8")
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Fatal(err)
		}
		want(t, "0") // another namespace's, by the same mounts
		if err := Write(some, "2"); err != nil {
			t.Fatal(err)
		}
		want(t, "2")
	})
}

func want(t *testing.T, value string) {
	t.Helper()
	if got, err := os.ReadFile(some); err != nil || strings.TrimSpace(string(got)) != value {
		t.Errorf("%s is %q (%v), want %s", some, got, err, value)
	}
}

// root is what a thread sees: /proc/sys as in a container or not, and whether the host's own is where we look for it.
type root struct{ readOnly, host bool }

// contained calls f on a thread with a network namespace and a root of its own.
func contained(t *testing.T, r root, f func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespaces with the thread
		if err := r.enter(dir); err != nil {
			t.Errorf("making a container: %v", err)
			return
		}
		f(t)
	}()
	<-done
}

func (r root) enter(dir string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_FS); err != nil {
		return err
	}
	proc, sys := filepath.Join(dir, "proc"), filepath.Join(dir, "proc/sys")
	err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", dir, "tmpfs", 0, ""),
		os.Mkdir(proc, 0o755), unix.Mount("proc", proc, "proc", 0, ""))
	if r.host {
		there := filepath.Join(dir, host, "proc/sys/net")
		err = errors.Join(err, os.MkdirAll(there, 0o755), unix.Mount(sys+"/net", there, "", unix.MS_BIND, ""))
	}
	if r.readOnly {
		err = errors.Join(err, unix.Mount(sys, sys, "", unix.MS_BIND, ""), unix.Mount("", sys, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	}
	return errors.Join(err, unix.Chroot(dir), os.Chdir("/"))
}
