package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// executor runs CNI plugins inside a node: those that are installed there or, once they are removed, the lab's own.
type executor struct{ node *Node }

var _ invoke.Exec = executor{}

// ExecPlugin implements invoke.Exec.
func (e executor) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	cmd := e.node.Command(ctx, path)
	cmd.Env = environ
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	var said types.Error
	if json.Unmarshal(stdout.Bytes(), &said) == nil && said.Code != 0 {
		return nil, &said
	}
	return nil, fmt.Errorf("running %s: %w: %s%s", path, err, stdout.Bytes(), stderr.Bytes())
}

// FindInPath implements invoke.Exec.
func (e executor) FindInPath(plugin string, paths []string) (string, error) {
	for _, dir := range paths {
		if path := filepath.Join(dir, plugin); isFile(path) {
			return path, nil
		}
	}
	return e.node.lookup(plugin), nil
}

// Decode implements invoke.Exec.
func (executor) Decode(text []byte) (version.PluginInfo, error) {
	return (&version.PluginDecoder{}).Decode(text)
}
