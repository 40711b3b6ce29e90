package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestConflist: the plugins that are installed are chained, what is right is not written again, and no other file is touched.
func TestConflist(t *testing.T) {
	conf, bin := filepath.Join(t.TempDir(), "cni", "net.d"), t.TempDir()
	others := filepath.Join(conf, "10-flannel.conflist")
	write(t, others, "theirs")
	path := filepath.Join(conf, ConflistName)
	for _, tt := range []struct {
		name    string
		change  func()
		written bool
		has     []string
	}{
		{"first", func() {}, true, []string{"warren-cni"}},
		{"again", func() {}, false, []string{"warren-cni"}},
		{"with portmap", func() { write(t, filepath.Join(bin, "portmap"), "") }, true, []string{"warren-cni", "portmap"}},
		{"with both", func() { write(t, filepath.Join(bin, "bandwidth"), "") }, true, []string{"warren-cni", "portmap", "bandwidth"}},
		{"changed by somebody", func() { write(t, path, "{}") }, true, []string{"warren-cni", "portmap", "bandwidth"}},
		{"of another mode", func() { _ = os.Chmod(path, 0o600) }, true, []string{"warren-cni", "portmap", "bandwidth"}},
	} {
		tt.change()
		written, err := Conflist(conf, bin, "/run/warren/agent.sock", false)
		if err != nil || written != tt.written {
			t.Errorf("%s: written %v, %v; want %v", tt.name, written, err, tt.written)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, plugin := range []string{"warren-cni", "portmap", "bandwidth"} {
			if got, want := strings.Contains(string(text), `"`+plugin+`"`), strings.Contains(strings.Join(tt.has, " "), plugin); got != want {
				t.Errorf("%s: %s is there: %v, want %v:\n%s", tt.name, plugin, got, want, text)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: mode %v, %v", tt.name, info.Mode(), err)
		}
	}
	if entries, err := os.ReadDir(conf); err != nil || len(entries) != 2 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	removed, err := Remove(conf, bin)
	if err != nil || len(removed) != 1 || removed[0] != "file "+path {
		t.Errorf("removed %q, %v", removed, err)
	}
	if text, err := os.ReadFile(others); err != nil || string(text) != "theirs" {
		t.Errorf("the other configuration: %q, %v", text, err)
	}
}

// TestPlugin: it lies beside the running program, or is there already.
func TestPlugin(t *testing.T) {
	bin := t.TempDir()
	if _, err := Plugin(bin); err == nil {
		t.Error("a plugin was installed from nowhere")
	}
	write(t, filepath.Join(bin, "warren-cni"), "somebody's packaging")
	if written, err := Plugin(bin); err != nil || written {
		t.Errorf("with one that is there: written %v, %v", written, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(filepath.Dir(self), "warren-cni")
	write(t, beside, "ours")
	t.Cleanup(func() { _ = os.Remove(beside) })
	for _, want := range []bool{true, false} {
		if written, err := Plugin(bin); err != nil || written != want {
			t.Errorf("written %v, %v; want %v", written, err, want)
		}
	}
	if info, err := os.Stat(filepath.Join(bin, "warren-cni")); err != nil || info.Mode() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
