package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/ipam"
)

// TestPoolsOfNamespaces is the example: a namespace has a pool of its own, addresses are reserved and asked for; and a Node that is deleted
// and made anew has the blocks that it had.
func TestPoolsOfNamespaces(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	example, err := os.ReadFile("../manifests/examples/pools.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := newPoolScene(ctx, t, 3, string(example)+`---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
`)
	shop, reserved := netip.MustParsePrefix("10.244.192.0/24"), netip.MustParsePrefix("10.244.192.0/29")
	n1, n2 := s.Node("n1"), s.Node("n2")
	cart := s.addPodOf(ctx, t, n1, "shop", "cart", nil)
	if len(cart.Addresses) != 1 || !shop.Contains(cart.Addresses[0]) || reserved.Contains(cart.Addresses[0]) {
		t.Errorf("a pod of the shop's has %s, want one of %s but not of %s", cart.Addresses, shop, reserved)
	}
	other := s.addPodOf(ctx, t, n2, "default", "other", nil)
	if len(other.Addresses) != 2 || slices.ContainsFunc(other.Addresses, shop.Contains) {
		t.Errorf("a pod of nobody's has %s", other.Addresses)
	}
	s.denied(ctx, t, n1, "default", "thief", map[string]string{ipam.AnnotationPools: "shop"}, cni.ErrDenied,
		`annotation warren.dev/pools: "shop" is no pool that it may have addresses from; those are: main, main6`)

	const address = "10.244.192.5"
	fixed := map[string]string{ipam.AnnotationIP: address}
	db := s.addPodOf(ctx, t, n2, "shop", "db", fixed)
	if len(db.Addresses) != 1 || db.Addresses[0].String() != address {
		t.Errorf("a pod that asks for %s has %s", address, db.Addresses)
	}
	s.denied(ctx, t, n2, "shop", "db-again", fixed, cni.ErrDenied, address+": the address is leased already, to pod shop/db")
	s.denied(ctx, t, n1, "shop", "db-elsewhere", fixed, cni.ErrNoAddress, "its block 10.244.192.0/28 is held by node n2")
	s.reached(ctx, t, cart, db, other)

	s.nodeAnew(ctx, t, n2)
	s.reached(ctx, t, cart, db, other)
	whose := s.addPodOf(ctx, t, n1, "default", "whose", nil)
	if err := s.Cluster().StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := whose.Remove(); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if p, err := n1.AddPodLike(short, lab.PodOptions{Name: "whose"}); err == nil {
		t.Errorf("without the API server nobody knows of which namespace a pod is, and it has %s", p.Addresses)
	}
	eventually(ctx, t, 5*time.Second, func() error { // its plugin may have been stopped first
		return logged(n1, "pods get no address yet; try again later: reading pod default/whose")
	})
	s.reached(ctx, t, cart, db)
	s.sealed(ctx, t)
}

// denied wants a pod to have no network, for the reason that the node has once it heard of what was done just now.
func (s *scene) denied(ctx context.Context, t *testing.T, n *lab.Node, namespace, name string, annotations map[string]string, code uint, why string) {
	t.Helper()
	eventually(ctx, t, 5*time.Second, func() error {
		p, err := s.tryPodOf(ctx, n, namespace, name, annotations)
		if err == nil {
			t.Fatalf("%s/%s has %s, want code %d, %s", namespace, name, p.Addresses, code, why)
		}
		var e *types.Error
		if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Error(), why) {
			return fmt.Errorf("%s/%s: %w, want code %d, %s", namespace, name, err, code, why)
		}
		return nil
	})
}

// nodeAnew deletes a Node and makes it anew, a while after its blocks were freed with it: nobody else has them meanwhile, and it has them again.
func (s *scene) nodeAnew(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	before := s.blocks(ctx, t, n.Name, "")
	if err := s.DeleteNodeObject(ctx, n.Name); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, time.Minute, func() error {
		if held := s.blocks(ctx, t, n.Name, ""); len(held) > 0 {
			return fmt.Errorf("%s still holds %v", n.Name, held)
		}
		return nil
	})
	s.denied(ctx, t, s.Node("n1"), "shop", "too-early", map[string]string{ipam.AnnotationIP: "10.244.192.6"}, cni.ErrNoAddress,
		"its block 10.244.192.0/28 was freed by node n2 less than 10m0s ago")
	if err := n.StopAgent(ctx); err != nil { // its token is bound to the Node before
		t.Fatal(err)
	}
	if err := s.CreateNodeObject(ctx, n); err != nil {
		t.Fatal(err)
	}
	s.startAgent(ctx, t, n)
	eventually(ctx, t, 20*time.Second, func() error {
		if held := s.blocks(ctx, t, n.Name, ""); !slices.Equal(held, before) {
			return fmt.Errorf("%s holds %v, want %v", n.Name, held, before)
		}
		return nil
	})
	if addrs := run(ctx, t, &n.Host, "", "ip", "-o", "addr", "show", "warren0"); !slices.ContainsFunc(before, func(p netip.Prefix) bool {
		return strings.Contains(addrs, " "+p.Addr().Next().String()+"/")
	}) {
		t.Errorf("its mesh address is in none of %v:\n%s", before, addrs)
	}
}
