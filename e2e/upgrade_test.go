package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// former is the commit from which nodes are upgraded: the first whole of the mesh, before agents held peers to NodeKeys, kept their
// last good plan on disk and called the userspace tunnel as they do now.
const former = "7cacc2b"

// TestUpgrade: nodes go from the former build to this one and back, one by one, with traffic between them, and lose not one packet: the
// process of a userspace device stays the former's.
func TestUpgrade(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pace.Scale(5*time.Minute))
	defer cancel()
	program := formerAgent(ctx, t)
	s := bareScene(ctx, t, lab.Options{Nodes: 3, PodFamilies: lab.Dual})
	for _, n := range s.Nodes() {
		n.UseAgent(program)
		s.startAgent(ctx, t, n)
	}
	for _, n := range s.Nodes() {
		s.addPodByHand(ctx, t, n, "p1") // the former build knows no CNI
	}
	s.meshed(ctx, t)
	n1, n2 := s.Node("n1"), s.Node("n2")
	device := deviceOf(ctx, t, n1)
	replace := func(n *lab.Node, program string) error {
		n.UseAgent(program)
		return errors.Join(n.StopAgent(ctx), n.StartAgent(ctx), n.WaitReady(ctx))
	}
	for _, event := range []undisturbed{
		{"upgrade of one node", 0, func() error { return replace(n1, "") }},
		{"upgrade of the other", 0, func() error { return replace(n2, "") }},
		{"upgrade of a third", 0, func() error { return replace(s.Node("n3"), "") }},
		{"rollback of one node", 0, func() error { return replace(n1, program) }},
		{"upgrade again", 0, func() error { return replace(n1, "") }},
	} {
		t.Run(event.name, func(t *testing.T) { s.undisturbed(ctx, t, device, event) })
	}
	s.meshed(ctx, t)
	s.sealed(ctx, t)
}

// formerAgent is the path of a warrend of the former build.
func formerAgent(ctx context.Context, t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(lab.BuildsVariable); dir != "" {
		return filepath.Join(dir, former)
	}
	root, err := lab.Repository()
	if err != nil {
		t.Fatal(err)
	}
	archive := exec.CommandContext(ctx, "git", "-C", root, "archive", former)
	content, err := archive.Output()
	if err != nil {
		give := t.Skipf
		if os.Getenv("CI") == "true" { // where nobody reads what was skipped
			give = t.Fatalf
		}
		give("commit %s is not in this clone, as in a shallow one; `git fetch --unshallow` gets it: %v", former, err)
	}
	source := t.TempDir()
	extract := exec.CommandContext(ctx, "tar", "-x", "-C", source)
	extract.Stdin = bytes.NewReader(content)
	if out, err := extract.CombinedOutput(); err != nil {
		t.Fatalf("unpacking commit %s: %v\n%s", former, err, out)
	}
	return goBuildAgent(ctx, t, source, former)
}
