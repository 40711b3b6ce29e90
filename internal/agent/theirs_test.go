package agent

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/checkpoint"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/internal/podnet"
	"github.com/warren-mesh/warren/policy"
)

// TestClaimTheirs: a link becomes the pod's that the routes say, with all of its addresses, and no other's while it is there.
func TestClaimTheirs(t *testing.T) {
	a := &Agent{logger: zap.NewNop()}
	a.enforcement.loop = loop.New(func(context.Context) error { return nil }, loop.Options{})
	a.theirs.links = map[string]checkpoint.PodLink{}
	addrs := func(texts ...string) (out []netip.Addr) {
		for _, text := range texts {
			out = append(out, netip.MustParseAddr(text))
		}
		return out
	}
	pod := func(name string, addresses ...string) kube.PodHere {
		return kube.PodHere{PodKey: policy.PodKey{Namespace: "x", Name: name}, UID: "1", Addresses: addrs(addresses...)}
	}
	want := func(addresses ...string) {
		t.Helper()
		link := checkpoint.PodLink{Index: 7, Local: policy.Local{Interface: "vetha", PodKey: policy.PodKey{Namespace: "x", Name: "a"}, Addresses: addrs(addresses...)}}
		if diff := cmp.Diff(map[string]checkpoint.PodLink{"vetha": link}, a.theirs.links, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("links (-want +got):\n%s", diff)
		}
		a.enforcement.bonds.mu.Lock()
		defer a.enforcement.bonds.mu.Unlock()
		if diff := cmp.Diff(map[string]policy.Local{"vetha": link.Local}, a.enforcement.bonds.locals, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("what policy knows (-want +got):\n%s", diff)
		}
	}
	lead := podnet.Lead{Link: "vetha", Index: 7}
	for _, addresses := range [][]string{{"10.0.0.5"}, {"10.0.0.5", "fd00::5"}, {"10.0.0.5"}} {
		if err := a.claimTheirs(pod("a", addresses...), lead); err != nil {
			t.Fatal(err)
		}
	}
	want("10.0.0.5", "fd00::5")
	if err := a.claimTheirs(pod("b", "10.0.0.6"), lead); err == nil || !strings.Contains(err.Error(), "link vetha leads to it, and to pod x/a") {
		t.Errorf("another pod's: %v", err)
	}
	want("10.0.0.5", "fd00::5")
	if got := a.enforcement.bonds.podBehind("vetha"); got != "x/a" {
		t.Errorf("behind it is %q", got)
	}
}

// TestLoose: a pod whose link is not found is told of once that has lasted, by its name and the reason.
func TestLoose(t *testing.T) {
	var th theirs
	th.loose = map[policy.PodKey]loosePod{
		{Namespace: "x", Name: "b"}: {PodHere: kube.PodHere{PodKey: policy.PodKey{Namespace: "x", Name: "b"}}, why: "bridged", since: time.Now(), told: true},
		{Namespace: "x", Name: "a"}: {PodHere: kube.PodHere{PodKey: policy.PodKey{Namespace: "x", Name: "a"}}, why: "no link", told: true},
		{Namespace: "x", Name: "c"}: {PodHere: kube.PodHere{PodKey: policy.PodKey{Namespace: "x", Name: "c"}}, why: "about to go"},
	}
	if diff := cmp.Diff([]string{"x/a: no link", "x/b: bridged"}, th.looseTexts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
