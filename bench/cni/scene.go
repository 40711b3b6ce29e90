package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/warren-mesh/warren/e2e/lab"
)

// The reference plugins and cnitool, built as they are.
const (
	pluginsVersion = "v1.9.1"
	cniVersion     = "v1.3.1"
)

// subject is one of the two that are compared: a folder with its network configuration.
type subject struct {
	name, network, confDir string
}

// scene is a node with an agent, and the reference plugins beside it.
type scene struct {
	lab          *lab.Lab
	node         *lab.Node
	tools        string
	warren, them subject
	made         int
}

func newScene(ctx context.Context, root string, out io.Writer) (*scene, error) {
	s := &scene{tools: filepath.Join(root, ".cache", "cni-"+pluginsVersion)}
	if err := s.build(ctx, out); err != nil {
		return nil, err
	}
	// A lab is in /run, which is no disk on most machines: this one's node has its leases where those of host-local are.
	base := filepath.Join(root, ".cache", "bench-cni")
	if err := errors.Join(os.MkdirAll(base, 0o750), os.Setenv("XDG_RUNTIME_DIR", base)); err != nil {
		return nil, err
	}
	var err error
	s.lab, err = lab.Start(ctx, lab.Options{Name: "bench-cni", Nodes: 1, NodeMask4: 20, Out: out})
	if err != nil {
		return nil, err
	}
	s.node = s.lab.Nodes()[0]
	if err := s.configure(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *scene) close() error { return s.lab.Close() }

// build builds what is not there yet, with the same flags as Warren's own programs.
func (s *scene) build(ctx context.Context, out io.Writer) error {
	for _, tool := range []struct{ name, pkg string }{
		{"ptp", "github.com/containernetworking/plugins/plugins/main/ptp@" + pluginsVersion},
		{"host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local@" + pluginsVersion},
		{"cnitool", "github.com/containernetworking/cni/cnitool@" + cniVersion},
	} {
		if _, err := os.Stat(filepath.Join(s.tools, tool.name)); err == nil {
			continue
		}
		fmt.Fprintf(out, "building %s\n", tool.pkg)
		cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags", "-s -w", tool.pkg) //nolint:gosec // pinned above
		cmd.Env = append(os.Environ(), "GOBIN="+s.tools, "CGO_ENABLED=0", "GOFLAGS=")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", tool.pkg, err, text)
		}
	}
	return nil
}

// configure writes the baseline's network configuration; Warren's is the one that its agent wrote.
func (s *scene) configure() error {
	dir := filepath.Join(s.lab.Dir(), "ptp")
	s.warren = subject{"Warren", "warren", s.node.CNIConfDir()}
	s.them = subject{"ptp", "bench-ptp", dir}
	conf := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "bench-ptp", "plugins": [{"type": "ptp", "ipMasq": false,
		"ipam": {"type": "host-local", "subnet": "10.99.0.0/20", "dataDir": %q, "routes": [{"dst": "0.0.0.0/0"}]}}]}`, filepath.Join(dir, "leases"))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "10-ptp.conflist"), []byte(conf), 0o600)
}
