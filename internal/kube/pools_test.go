package kube

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/ipam"
	"github.com/warren-mesh/warren/mesh"
)

func ipPool(name, cidr string, size int32, age time.Duration) *v1alpha1.IPPool {
	return &v1alpha1.IPPool{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "pool", CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))},
		Spec:       v1alpha1.IPPoolSpec{CIDR: cidr, BlockSize: size, AllowedUses: []v1alpha1.IPPoolUse{v1alpha1.UsePods}},
	}
}

func ipBlock(cidr, pool, node string) *v1alpha1.IPBlock {
	return &v1alpha1.IPBlock{
		ObjectMeta: metav1.ObjectMeta{
			Name: v1alpha1.IPBlockName(netip.MustParsePrefix(cidr)), CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0)),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node, UID: "uid"}},
		},
		Spec: v1alpha1.IPBlockSpec{CIDR: cidr, Pool: pool, NodeName: node},
	}
}

func TestReadPool(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.IPPool)
		want   string
	}{
		"a pool":                 {change: func(*v1alpha1.IPPool) {}},
		"no CIDR":                {func(p *v1alpha1.IPPool) { p.Spec.CIDR = "10.64.0.0" }, `spec.cidr: "10.64.0.0" is not a network in its canonical form`},
		"not canonical":          {func(p *v1alpha1.IPPool) { p.Spec.CIDR = "10.64.0.1/16" }, "spec.cidr"},
		"IPv4 in IPv6":           {func(p *v1alpha1.IPPool) { p.Spec.CIDR = "::ffff:10.64.0.0/112" }, "spec.cidr"},
		"blocks that are larger": {func(p *v1alpha1.IPPool) { p.Spec.BlockSize = 15 }, "spec.blockSize: 15 is not between 16 and 30"},
		"blocks of no use":       {func(p *v1alpha1.IPPool) { p.Spec.BlockSize = 31 }, "spec.blockSize: 31 is not between 16 and 30"},
		"a bad node selector": {func(p *v1alpha1.IPPool) {
			p.Spec.NodeSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Equals"}}}
		}, `spec.nodeSelector: "Equals" is not a valid label selector operator`},
		"a bad namespace selector": {func(p *v1alpha1.IPPool) {
			p.Spec.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a b": "c"}}
		}, "spec.namespaceSelector: "},
	} {
		t.Run(name, func(t *testing.T) {
			p := ipPool("v4", "10.64.0.0/16", 26, 0)
			c.change(p)
			pool, err := readPool(p)
			switch {
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			case c.want == "" && (err != nil || !pool.NATOutgoing || !pool.Pods || pool.MeshAddresses || pool.Nodes == nil || pool.Namespaces != nil):
				t.Errorf("read %+v, error %v", pool, err)
			}
		})
	}
}

func TestPoolSet(t *testing.T) {
	var set poolSet
	check := func(what string, changed, want bool, pools ...string) {
		t.Helper()
		var names []string
		for _, p := range set.snapshot().sorted {
			names = append(names, p.Name)
		}
		if diff := cmp.Diff(pools, names); diff != "" || changed != want {
			t.Errorf("%s: changed is %t, want %t; pools (-want +got):\n%s", what, changed, want, diff)
		}
	}
	check("a pool", set.set(ipPool("b", "10.64.0.0/16", 26, 0)), true, "b")
	check("the same again", set.set(ipPool("b", "10.64.0.0/16", 26, 0)), false, "b")
	counted := ipPool("b", "10.64.0.0/16", 26, 0)
	counted.Status.Blocks = 7
	check("its status", set.set(counted), false, "b")
	disabled := ipPool("b", "10.64.0.0/16", 26, 0)
	disabled.Spec.Disabled = true
	check("disabled", set.set(disabled), true, "b")
	check("an older one that overlaps it", set.set(ipPool("a", "10.64.0.0/17", 26, time.Hour)), true, "a")
	check("one that cannot be read", set.set(ipPool("c", "nonsense", 26, 0)), true, "a")
	want := []mesh.Refusal{
		{Reason: mesh.Overlap, Detail: "IPPool b: 10.64.0.0/16 overlaps 10.64.0.0/17 of IPPool a, which is older"},
		{Reason: mesh.Malformed, Detail: `IPPool c: spec.cidr: "nonsense" is not a network in its canonical form, like 10.64.0.0/16 or fd00:64::/48`},
	}
	if diff := cmp.Diff(want, set.snapshot().refusals); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	check("the older one is gone", set.remove("a"), true, "b")
	check("what is not there is gone", set.remove("a"), false, "b")
	check("the other is put right", set.set(ipPool("c", "10.65.0.0/16", 26, 0)), true, "b", "c")
}

func TestMiscounted(t *testing.T) {
	var set poolSet
	set.set(ipPool("v4", "10.64.0.0/16", 26, 0))
	blocks := []ipam.Block{{CIDR: netip.MustParsePrefix("10.64.0.0/26"), Pool: "v4", Node: "n1"}}
	want := map[string]v1alpha1.IPPoolStatus{"v4": {Blocks: 1, Capacity: 1024, Nodes: 1}}
	if got := set.miscounted(blocks, time.Hour); got != nil {
		t.Errorf("%v is to be written at once", got)
	}
	if diff := cmp.Diff(want, set.miscounted(blocks, 0)); diff != "" {
		t.Errorf("what is to be written (-want +got):\n%s", diff)
	}
	counted := ipPool("v4", "10.64.0.0/16", 26, 0)
	counted.Status = want["v4"]
	set.set(counted)
	if got := set.miscounted(blocks, 0); got != nil {
		t.Errorf("%v is to be written, and is there", got)
	}
}

func TestReservationSet(t *testing.T) {
	var set reservationSet
	reserve := func(name string, cidrs ...string) *v1alpha1.IPReservation {
		return &v1alpha1.IPReservation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.IPReservationSpec{CIDRs: cidrs}}
	}
	if !set.set(reserve("a", "10.64.0.9/32", "fd00:64::/64")) || set.set(reserve("a", "10.64.0.9/32", "fd00:64::/64")) {
		t.Error("a reservation is a change once")
	}
	if !set.set(reserve("b", "10.64.0.9/32", "10.64.0.9", "10.64.0.7/32")) {
		t.Error("another is no change")
	}
	cidrs, refusals := set.snapshot()
	want := []netip.Prefix{netip.MustParsePrefix("10.64.0.7/32"), netip.MustParsePrefix("10.64.0.9/32"), netip.MustParsePrefix("fd00:64::/64")}
	if diff := cmp.Diff(want, cidrs, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("reserved (-want +got):\n%s", diff)
	}
	if len(refusals) != 1 || !strings.Contains(refusals[0].Detail, `IPReservation b: spec.cidrs: "10.64.0.9" is not a network`) {
		t.Errorf("refusals are %v", refusals)
	}
	if !set.remove("b") || set.remove("b") {
		t.Error("a reservation's end is a change once")
	}
}
