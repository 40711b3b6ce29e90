// Package install puts the CNI plugin and its configuration where the container runtime looks for them, and takes them away.
package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/warren-mesh/warren/internal/cni"
)

const (
	// DefaultConfDir is where runtimes look for configurations.
	DefaultConfDir = "/etc/cni/net.d"
	// DefaultBinDir is where they look for plugins.
	DefaultBinDir = "/opt/cni/bin"
)

// Plugin puts the plugin's program, which lies beside this one, into binDir, and says whether that took a write. Where there is none
// beside this one, somebody else must have installed it.
func Plugin(binDir string) (written bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("finding the CNI plugin: %w", err)
	}
	target := filepath.Join(binDir, cni.PluginName)
	program, err := os.ReadFile(filepath.Join(filepath.Dir(self), cni.PluginName))
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Stat(target); there == nil {
			return false, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("finding the CNI plugin beside %s: %w", self, err)
	}
	written, err = put(target, program, 0o755)
	if err != nil {
		return false, fmt.Errorf("installing the CNI plugin: %w", err)
	}
	return written, nil
}

// put replaces a file by rename, where it is another: who reads or runs it meanwhile has the one or the other, whole.
func put(path string, content []byte, mode fs.FileMode) (written bool, err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode() == mode {
		if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, content) { //nolint:gosec // root's own folder
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as package managers make it
		return false, err
	}
	// The temporary file is hidden, and has no ending that a runtime reads. It is in the same folder: what is renamed from elsewhere is to containerd
	// no change of its folder.
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(mode))
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Cleanup() }()
	if _, err := file.Write(content); err != nil {
		return false, err
	}
	return true, file.CloseAtomicallyReplace()
}

// Remove takes away what is ours of these folders, and says what that was. The folders stay: they are others' too.
func Remove(confDir, binDir string) (removed []string, err error) {
	return remove(filepath.Join(confDir, ConflistName), filepath.Join(confDir, linkTempName), filepath.Join(binDir, cni.PluginName))
}

// RemoveConflist takes the configuration away alone: pods get their network by another one, or wait.
func RemoveConflist(confDir string) (removed []string, err error) {
	return remove(filepath.Join(confDir, ConflistName))
}

func remove(paths ...string) (removed []string, err error) {
	var errs []error
	for _, path := range paths {
		err := os.Remove(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, fmt.Errorf("removing a file: %w", err))
		default:
			removed = append(removed, "file "+path)
		}
	}
	return removed, errors.Join(errs...)
}
