package checkpoint

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/ipam"
)

func supply(t *testing.T) ipam.Supply {
	t.Helper()
	blue, err := labels.Parse("team in (blue,green),!old")
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	main := ipam.Pool{
		Name: "main", UID: "u1", Created: created, CIDR: netip.MustParsePrefix("10.64.0.0/16"), BlockSize: 26, Nodes: labels.Everything(),
		NATOutgoing: true, Pods: true, MeshAddresses: true,
	}
	bound := main
	bound.Name, bound.UID, bound.CIDR, bound.Namespaces, bound.Disabled = "blue", "u2", netip.MustParsePrefix("10.65.0.0/16"), blue, true
	return ipam.Supply{
		Pools: []ipam.Pool{main, bound}, Reserved: []netip.Prefix{netip.MustParsePrefix("10.64.0.7/32")},
		Blocks: []ipam.Block{{CIDR: netip.MustParsePrefix("10.64.3.64/26"), Pool: "main", Node: "n1", NodeUID: "u3", MeshAddress: true, Created: created}},
	}
}

func TestSupply(t *testing.T) {
	dir, want := t.TempDir(), supply(t)
	if _, err := NewSupply(dir, "n1").Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	store := NewSupply(dir, "n1")
	if err := store.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := NewSupply(dir, "n1").Load()
	selectors := cmp.Comparer(func(a, b labels.Selector) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	})
	if diff := cmp.Diff(want, got, selectors, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	if err := os.Remove(store.Path()); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(want); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(store.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the same was written again: %v", err)
	}
}

func TestSupplyRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := NewSupply(dir, "n1").Save(supply(t)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(NewSupply(dir, "n1").Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, node, content, want string }{
		{"another node's", "n2", string(whole), `of node "n1"`},
		{"torn", "n1", string(whole[:len(whole)-2]), "checksum"},
		{"a plan", "n1", string(seal([]byte("{}"))), "no checkpoint"},
		{"a selector that is none", "n1", string(sealAs(supplyMagic, []byte(`{"node":"n1","pools":[{"name":"p","cidr":"10.64.0.0/16","blockSize":26,"nodes":"a b"}]}`))), `parsing pool "p"`},
		{"blocks larger than the pool", "n1", string(sealAs(supplyMagic, []byte(`{"node":"n1","pools":[{"name":"p","cidr":"10.64.0.0/16","blockSize":8}]}`))), "no blocks of /8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := NewSupply(dir, c.node)
			if err := os.WriteFile(store.Path(), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Load(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
