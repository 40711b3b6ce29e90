// Package install puts the CNI plugin and its configuration where the container runtime looks for them, and takes them away.
package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/warren-mesh/warren/internal/cni"
)

const (
	// ConflistName is the configuration's file. Runtimes take the first by name.
	ConflistName = "10-warren.conflist"
	// NetworkName is what the network is called in it, and by it in leases.
	NetworkName = "warren"
	// version is the newest that containerd 1.6 understands.
	version = "1.0.0"

	// DefaultConfDir is where runtimes look for configurations.
	DefaultConfDir = "/etc/cni/net.d"
	// DefaultBinDir is where they look for plugins.
	DefaultBinDir = "/opt/cni/bin"
)

type plugin struct {
	Type         string          `json:"type"`
	Socket       string          `json:"socket,omitempty"`
	Capabilities map[string]bool `json:"capabilities,omitempty"`
}

type conflist struct {
	CNIVersion string   `json:"cniVersion"`
	Name       string   `json:"name"`
	Plugins    []plugin `json:"plugins"`
}

// ours is the plugin itself. A runtime may ask for addresses and for a hardware address.
var ours = plugin{Type: cni.PluginName, Capabilities: map[string]bool{"ips": true, "mac": true}}

// chained are the reference plugins for what a pod may ask for beside its address. One that is not installed would fail every pod.
var chained = []plugin{
	{Type: "portmap", Capabilities: map[string]bool{"portMappings": true}},
	{Type: "bandwidth", Capabilities: map[string]bool{"bandwidth": true}},
}

// Conflist writes the configuration, and says whether that took a write. From then on the runtime starts pods.
func Conflist(confDir, binDir, socket string) (written bool, err error) {
	list := conflist{CNIVersion: version, Name: NetworkName, Plugins: []plugin{ours}}
	list.Plugins[0].Socket = socket
	for _, p := range chained {
		if info, err := os.Stat(filepath.Join(binDir, p.Type)); binDir != "" && err == nil && info.Mode().IsRegular() {
			list.Plugins = append(list.Plugins, p)
		}
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return false, fmt.Errorf("encoding the CNI configuration: %w", err)
	}
	written, err = put(filepath.Join(confDir, ConflistName), append(text, '\n'), 0o644)
	if err != nil {
		return false, fmt.Errorf("writing the CNI configuration: %w", err)
	}
	return written, nil
}

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
	// The temporary file is hidden, and has no ending that a runtime reads.
	file, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(mode))
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
	return remove(filepath.Join(confDir, ConflistName), filepath.Join(binDir, cni.PluginName))
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
