package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lent are the folders of the machine that a node uses as they are, and cannot write to. Of them it has what is a folder there.
var lent = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/ssl", "/etc/ca-certificates"}

// copied are the files of /etc that programs look at.
var copied = []string{"passwd", "group", "nsswitch.conf", "ld.so.cache", "protocols", "services", "localtime", "ethertypes"}

// MakeRoot makes a folder into what a node's root is, but for what is mounted there. Show is as in [Spec].
func MakeRoot(root string, show []string) error {
	folders := []string{"proc", "sys", "dev", "run", "tmp", "root", "etc", "opt/cni/bin", "etc/cni/net.d", "var/lib", "var/log", "var/tmp"}
	for _, dir := range append(append([]string{}, lent...), show...) {
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("making a node's root: %w", err)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(dir)
			if err == nil {
				err = os.Symlink(target, filepath.Join(root, dir))
			}
			if err != nil {
				return fmt.Errorf("making a node's root: %w", err)
			}
		default:
			folders = append(folders, dir)
		}
	}
	for _, dir := range folders {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil { //nolint:gosec // as on every machine
			return fmt.Errorf("making a node's root: %w", err)
		}
	}
	for _, name := range copied {
		content, err := os.ReadFile(filepath.Join("/etc", name)) //nolint:gosec // of the list above
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "etc", name), content, 0o644) //nolint:gosec // everybody reads them
		}
		if err != nil {
			return fmt.Errorf("making a node's root: %w", err)
		}
	}
	return os.Symlink("/run", filepath.Join(root, "var/run"))
}

// mount makes the root of the calling process's mount namespace the node's. The machine's is not seen in it.
func (s Spec) mount(all []hierarchy) error {
	at := func(path string) string { return filepath.Join(s.Root, path) }
	if err := bind(s.Root, s.Root, 0); err != nil {
		return err
	}
	for _, m := range []struct {
		path, kind, data string
		flags            uintptr
	}{
		{"/proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"/sys", "sysfs", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"/run", "tmpfs", "mode=755", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := unix.Mount(m.kind, at(m.path), m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s: %w", m.path, err)
		}
	}
	if err := mountCgroups(at("/sys/fs/cgroup"), all); err != nil {
		return fmt.Errorf("mounting the control groups: %w", err)
	}
	if err := bind("/dev", at("/dev"), unix.MS_REC); err != nil {
		return err
	}
	for _, dir := range append(append([]string{}, lent...), s.Show...) {
		if info, err := os.Lstat(at(dir)); err != nil || !info.IsDir() {
			continue // a link, or not there
		}
		if err := lend(dir, at(dir)); err != nil {
			return err
		}
	}
	if err := s.mountSysctls(); err != nil {
		return err
	}
	return s.pivot()
}

// mountSysctls keeps the machine's sysctls, all but the network's, from being written to.
func (s Spec) mountSysctls() error {
	for _, dir := range []string{"kernel", "vm", "fs"} {
		dir = filepath.Join(s.Root, "proc/sys", dir)
		if err := lend(dir, dir); err != nil {
			return err
		}
	}
	for name, value := range s.Sysctls {
		file := filepath.Join(s.Root, "run", strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
		if err := bind(file, filepath.Join(s.Root, "proc/sys", name), 0); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes Root the root, and what mounts there later seen by the containers that ask for it.
func (s Spec) pivot() error {
	if err := unix.Chdir(s.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // the old one is on top
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("sharing mounts: %w", err)
	}
	for _, dir := range []string{"/run/lock", "/run/netns"} {
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as on every machine
			return err
		}
	}
	return nil
}

func bind(source, path string, flags uintptr) error {
	if err := unix.Mount(source, path, "", unix.MS_BIND|flags, ""); err != nil {
		return fmt.Errorf("binding %s: %w", source, err)
	}
	return nil
}

// lend is bind, for reading only.
func lend(source, path string) error {
	if err := bind(source, path, 0); err != nil {
		return err
	}
	if err := unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("keeping %s from being written to: %w", source, err)
	}
	return nil
}
