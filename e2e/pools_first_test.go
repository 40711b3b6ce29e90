package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/cni/install"
)

// TestNoPoolYet: a node that no pool has given addresses does not tell the runtime that pods can have a network, and one that gets some does at once.
func TestNoPoolYet(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := bareScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual, AgentArgs: []string{"--ipam=pools"}})
	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
	}
	n1, n2 := s.Node("n1"), s.Node("n2")
	time.Sleep(time.Second) // in which an agent of a node with pod CIDRs has long written it
	if _, err := os.Lstat(filepath.Join(n1.CNIConfDir(), install.ConflistName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a pool there is a CNI configuration, or: %v", err)
	}
	if err := s.Cluster().Apply(ctx, []byte(pools)); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 5*time.Second, func() error {
		_, err := os.Lstat(filepath.Join(n1.CNIConfDir(), install.ConflistName))
		return err
	})
	s.reached(ctx, t, s.addPod(ctx, t, n1, "a"), s.addPod(ctx, t, n2, "b"))
}
