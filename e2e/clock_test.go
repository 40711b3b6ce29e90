package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/clock"
	"github.com/warren-mesh/warren/mesh"
)

// TestClockWentBack: a node whose clock shows less than it did before its agent's restart says so, and every other node begins anew with
// it: those whose agents run, and those whose agents start later. That handshakes are refused otherwise is shown where a clock can be
// set (e2e/vm).
func TestClockWentBack(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 3})
	s.meshed(ctx, t)
	n1, n2, n3 := s.Node("n1"), s.Node("n2"), s.Node("n3")
	key := publicKey(ctx, t, n1)
	session := func(n *lab.Node) string {
		for line := range strings.Lines(run(ctx, t, &n.Host, "", "wg", "show", "warren0", "transfer")) {
			if peer, bytes, _ := strings.Cut(strings.TrimSpace(line), "\t"); peer == key {
				return bytes
			}
		}
		return "no peer"
	}
	for range 20 { // so that what was received and sent is more than what a new peer soon has
		if err := quickPing(ctx, &s.pod("n1").Host, s.pod("n3").Addresses[0]); err != nil {
			t.Fatal(err)
		}
	}
	// The plan that n3's next agent finds on disk says how often n1's clock had gone back by now.
	if err := errors.Join(n3.StopAgent(ctx), n1.StopAgent(ctx)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n1.StateDir(), clock.FileName)
	before, err := os.ReadFile(file)
	if err != nil || string(before) != "0\n" {
		t.Fatalf("the clock's record is %q, %v", before, err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(file, later, later); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n1.StartAgent(ctx), n1.WaitReady(ctx)); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 5*time.Second, func() error {
		if got := s.claim(ctx, t, "n1")[mesh.AnnotationClockSteps]; got != "1" {
			return fmt.Errorf("its claim says %q steps", got)
		}
		return nil
	})
	eventually(ctx, t, 5*time.Second, func() error { return logged(n2, "clock went back", `"node":"n1"`) })
	wantLogged(t, n1, "the clock went back", "it was last looked at")
	s.meshed(ctx, t)

	kept := session(n3)
	if err := errors.Join(n3.StartAgent(ctx), n3.WaitReady(ctx)); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 5*time.Second, func() error { return logged(n3, "clock went back", `"node":"n1"`) })
	if now := session(n3); now == kept || len(now) > len(kept) {
		t.Errorf("n3 has received and sent %s with n1, and %s before: it goes on with the peer it had", now, kept)
	}
	s.meshed(ctx, t)

	// Once was enough.
	for _, n := range []*lab.Node{n1, n2} {
		if err := errors.Join(n.StopAgent(ctx), n.StartAgent(ctx), n.WaitReady(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.claim(ctx, t, "n1")[mesh.AnnotationClockSteps]; got != "1" {
		t.Errorf("after another restart its claim says %q steps", got)
	}
	s.sealed(ctx, t)
}
