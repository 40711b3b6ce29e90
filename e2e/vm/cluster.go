package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/warren-mesh/warren/e2e/lab"
)

// clusters is the package whose tests want nodes with containerd and kubelet.
const clusters = "e2e/cluster"

// nodePrograms are what a node runs and an administrator's shell, besides what is built.
var nodePrograms = []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "bash", "touch", "mount", "umount"}

// addCluster adds what the nodes of a cluster run, where the tests look for it in the repository, and what they build of it otherwise.
func (f files) addCluster(ctx context.Context, a *archive) error {
	if err := addAll(ctx, a, nodePrograms, "deps-cluster"); err != nil {
		return err
	}
	root, err := lab.Repository()
	if err != nil {
		return err
	}
	source := func(file string) string { return "/src" + strings.TrimPrefix(file, root) }
	entries, err := os.ReadDir(f.nodePrograms)
	if err != nil {
		return err
	}
	built := map[string]string{}
	for _, e := range entries {
		built[e.Name()] = filepath.Join(f.nodePrograms, e.Name())
	}
	if err := addOnce(a, source(f.nodePrograms), built); err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum", "main.go"} { // by which that folder is found
		a.file(filepath.Join("/src/e2e/kubelet", name), filepath.Join(root, "e2e/kubelet", name))
	}
	plugins, err := lab.BuildReferences(ctx, io.Discard, "loopback", "ptp", "host-local", "portmap")
	if err != nil {
		return err
	}
	if err := addTree(a, source(plugins), plugins); err != nil {
		return err
	}
	pause, err := f.build(ctx, "./e2e/cluster/pause")
	if err != nil {
		return err
	}
	a.file(filepath.Join(labBuilds, "pause"), pause)
	return nil
}
