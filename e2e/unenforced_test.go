package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/e2e/lab"
	policynft "github.com/warren-mesh/warren/policy/nft"
)

// TestUnenforced: with --policy=false nothing is enforced, whatever policies there are, and no table is there for them; a node where policy is
// switched on enforces at once, and one where it is switched off again is as if it had never been.
func TestUnenforced(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual, NoPolicy: true})
	n1 := s.Node("n1")
	if err := s.Cluster().Apply(ctx, []byte(np("default", "deny", "podSelector: {}\npolicyTypes: [Ingress]"))); err != nil {
		t.Fatal(err)
	}
	s.meshed(ctx, t)
	for _, n := range s.Nodes() {
		wantPolicyTable(ctx, t, n, false)
	}

	s.restartWith(ctx, t, n1, "--policy=true")
	eventually(ctx, t, 10*time.Second, func() error {
		if reached := reachable(ctx, &s.pod("n2").Host, s.pod("n1")); len(reached) > 0 {
			return fmt.Errorf("a policy denies it, and %s are reached", reached)
		}
		return nil
	})
	wantPolicyTable(ctx, t, n1, true)
	eventually(ctx, t, 10*time.Second, func() error { return pingAll(ctx, s.pod("n1"), s.pod("n2")) })

	s.restartWith(ctx, t, n1)
	wantLogged(t, n1, "policy is not enforced; removed the nftables table inet warren-policy")
	wantPolicyTable(ctx, t, n1, false)
	s.addPod(ctx, t, n1, "p2")
	s.meshed(ctx, t)
	s.sealed(ctx, t)
}

// restartWith restarts an agent, with those arguments.
func (s *scene) restartWith(ctx context.Context, t *testing.T, n *lab.Node, args ...string) {
	t.Helper()
	if err := n.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	s.startAgent(ctx, t, n, args...)
}

func wantPolicyTable(ctx context.Context, t *testing.T, n *lab.Node, want bool) {
	t.Helper()
	if got := strings.Contains(run(ctx, t, &n.Host, "", "nft", "list", "tables"), "table inet "+policynft.TableName+"\n"); got != want {
		t.Errorf("%s has the table of policy: %t, want %t", n.Name, got, want)
	}
}
