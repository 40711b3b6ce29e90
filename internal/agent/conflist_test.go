package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/warren-mesh/warren/internal/cni/install"
)

// TestConflistBesideOthers: a configuration that a reboot takes must not leave pods to another network's, and the log names those.
func TestConflistBesideOthers(t *testing.T) {
	dir, run := t.TempDir(), t.TempDir()
	other := filepath.Join(dir, "87-podman.conflist")
	core, logs := observer.New(zap.WarnLevel)
	for _, tt := range []struct {
		name       string
		link, want bool
		others     bool
		warnings   int
	}{
		{"alone", true, true, false, 0},
		{"beside another", true, false, true, 1},
		{"beside another, told to write a file", false, false, true, 0},
		{"alone again", true, true, false, 0},
		{"told to write a file", false, false, false, 0},
	} {
		_ = os.Remove(other)
		if tt.others {
			if err := os.WriteFile(other, []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a := &Agent{config: Config{Socket: filepath.Join(run, "agent.sock"), CNIConfLink: tt.link}, logger: zap.New(core)}
		if err := a.installConflist(dir); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(filepath.Join(dir, install.ConflistName))
		if err != nil || (info.Mode().Type() == fs.ModeSymlink) != tt.want {
			t.Errorf("%s: %v, %v, want a link: %v", tt.name, info.Mode(), err, tt.want)
		}
		if said := logs.TakeAll(); len(said) != tt.warnings {
			t.Errorf("%s: warned %d times, want %d: %v", tt.name, len(said), tt.warnings, said)
		}
	}
}
