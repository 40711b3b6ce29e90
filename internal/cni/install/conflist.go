package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"

	"github.com/warren-mesh/warren/internal/cni"
)

const (
	// ConflistName is the configuration's file. Runtimes take the first by name.
	ConflistName = "10-warren.conflist"
	// NetworkName is what the network is called in it, and by it in leases.
	NetworkName = "warren"
	// version is the newest that containerd 1.6 understands.
	version = "1.0.0"
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

// Conflist writes the configuration, and says whether that took a write. From then on the runtime starts pods. What is to end with the machine is
// written beside the socket, in /run, and the runtime's folder has a link to it: after a reboot the runtime finds nothing until this is called again.
func Conflist(confDir, binDir, socket string, endsWithMachine bool) (written bool, err error) {
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
	path := filepath.Join(confDir, ConflistName)
	target := path
	if endsWithMachine {
		target = filepath.Join(filepath.Dir(socket), ConflistName)
	}
	written, err = put(target, append(text, '\n'), 0o644)
	if err == nil && endsWithMachine {
		written, err = link(path, target, written)
	}
	if err != nil {
		return false, fmt.Errorf("writing the CNI configuration: %w", err)
	}
	return written, nil
}

// link makes path a link to target. It is made anew where it is older than what it leads to: runtimes look again when a name in their folder changes,
// and never at what a link leads to. By rename, since to containerd a name that is only added is no change.
func link(path, target string, anew bool) (made bool, err error) {
	if there, err := os.Readlink(path); err == nil && there == target && !anew {
		older, err := older(path, target)
		if err != nil || !older {
			return false, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as package managers make it
		return false, err
	}
	temporary := filepath.Join(filepath.Dir(path), linkTempName)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.Symlink(target, temporary); err != nil {
		return false, err
	}
	return true, os.Rename(temporary, path)
}

// linkTempName is hidden, and has no ending that a runtime reads.
const linkTempName = "." + ConflistName + ".tmp"

// older says whether a link is older than a file.
func older(link, file string) (bool, error) {
	l, err := os.Lstat(link)
	if err != nil {
		return false, err
	}
	f, err := os.Stat(file)
	if err != nil {
		return false, err
	}
	return l.ModTime().Before(f.ModTime()), nil
}

// Chaining are the configurations in a folder, but ours, that name the plugin: without it their pods cannot start.
func Chaining(confDir string) (paths []string, err error) {
	others, err := Others(confDir)
	if err != nil {
		return nil, err
	}
	for _, path := range others {
		text, err := os.ReadFile(path) //nolint:gosec // of root's own folder
		if errors.Is(err, fs.ErrNotExist) {
			continue // a link that leads nowhere
		}
		if err != nil {
			return nil, fmt.Errorf("reading another CNI configuration: %w", err)
		}
		var list struct {
			Plugins []struct {
				Type string `json:"type"`
			} `json:"plugins"`
		}
		if json.Unmarshal(text, &list) != nil {
			continue // no pod starts by it
		}
		for _, p := range list.Plugins {
			if p.Type == cni.PluginName {
				paths = append(paths, path)
				break
			}
		}
	}
	return paths, nil
}

// Others are the configurations in a folder that are not ours.
func Others(confDir string) (paths []string, err error) {
	all, err := libcni.ConfFiles(confDir, []string{".conf", ".conflist", ".json"})
	if err != nil {
		return nil, fmt.Errorf("looking for other CNI configurations: %w", err)
	}
	for _, path := range all {
		if filepath.Base(path) != ConflistName {
			paths = append(paths, path)
		}
	}
	return paths, nil
}
