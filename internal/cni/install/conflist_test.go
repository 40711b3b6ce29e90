package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"
)

// TestConflistThatEndsWithTheMachine: the link is made anew, by rename, whenever what it leads to was written, also by an agent that died right after.
func TestConflistThatEndsWithTheMachine(t *testing.T) {
	conf, bin, run := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "warren")
	path, target := filepath.Join(conf, ConflistName), filepath.Join(run, ConflistName)
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err == nil {
		_, err = unix.InotifyAddWatch(watch, conf, unix.IN_MOVED_FROM)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(watch) })
	reboot := func() {
		if err := os.RemoveAll(run); err != nil {
			t.Fatal(err)
		}
		if _, err := libcni.ConfListFromFile(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a runtime finds, after a reboot: %v", err)
		}
	}
	for _, tt := range []struct {
		name    string
		change  func()
		link    bool
		written bool
	}{
		{"first", func() {}, true, true},
		{"again", func() {}, true, false},
		{"rebooted", reboot, true, true},
		{"written by one that died", func() { _ = os.Chtimes(target, time.Time{}, time.Now().Add(time.Hour)) }, true, true},
		{"with portmap", func() { write(t, filepath.Join(bin, "portmap"), "") }, true, true},
		{"as a file", func() {}, false, true},
		{"as a link again", func() {}, true, true},
		{"a link to elsewhere", func() { _ = errors.Join(os.Remove(path), os.Symlink(filepath.Join(bin, "portmap"), path)) }, true, true},
	} {
		tt.change()
		written, err := Conflist(conf, bin, filepath.Join(run, "agent.sock"), tt.link)
		if err != nil || written != tt.written {
			t.Errorf("%s: written %v, %v; want %v", tt.name, written, err, tt.written)
		}
		if _, err := libcni.ConfListFromFile(path); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if info, err := os.Lstat(path); err != nil || (info.Mode().Type() == fs.ModeSymlink) != tt.link {
			t.Errorf("%s: %v, %v, want a link: %v", tt.name, info.Mode(), err, tt.link)
		}
		n, _ := unix.Read(watch, make([]byte, 4096)) // EAGAIN where there was none
		if renamed := n > 0; renamed != tt.written {
			t.Errorf("%s: a runtime sees a name change: %v, want %v", tt.name, renamed, tt.written)
		}
	}
	if entries, err := os.ReadDir(conf); err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	if removed, err := Remove(conf, bin); err != nil || len(removed) != 1 {
		t.Errorf("removed %q, %v", removed, err)
	}
}

// TestChaining: what would not work without the plugin.
func TestChaining(t *testing.T) {
	conf := t.TempDir()
	const theirs = `{"cniVersion": "1.0.0", "name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}%s]}`
	for name, text := range map[string]string{
		ConflistName: fmt.Sprintf(theirs, `, {"type": "warren-cni"}`), "20-gated.conflist": fmt.Sprintf(theirs, `, {"type": "warren-cni", "gate": true}`),
		"30-plain.conflist": fmt.Sprintf(theirs, ""), "40-single.conf": `{"type": "bridge"}`, "50-torn.conflist": `{"plugins": [{"type": "warren-cni"`,
		"60-gated.conflist.bak": fmt.Sprintf(theirs, `, {"type": "warren-cni"}`),
	} {
		write(t, filepath.Join(conf, name), text)
	}
	if err := os.Symlink("/nowhere", filepath.Join(conf, "70-link.conflist")); err != nil {
		t.Fatal(err)
	}
	if files, err := Chaining(conf); err != nil || len(files) != 1 || files[0] != filepath.Join(conf, "20-gated.conflist") {
		t.Errorf("chain the plugin: %q, %v", files, err)
	}
}

// TestOthers: what a runtime might take in place of ours.
func TestOthers(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "net.d")
	if others, err := Others(conf); err != nil || len(others) > 0 {
		t.Errorf("in no folder: %q, %v", others, err)
	}
	for _, name := range []string{ConflistName, "99-loopback.conf.disabled", "README", "87-podman.conflist"} {
		write(t, filepath.Join(conf, name), "")
	}
	if others, err := Others(conf); err != nil || len(others) != 1 || others[0] != filepath.Join(conf, "87-podman.conflist") {
		t.Errorf("others: %q, %v", others, err)
	}
}
