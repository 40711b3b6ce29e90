package agent

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/clock"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/loop"
	"github.com/warren-mesh/warren/internal/version"
	"github.com/warren-mesh/warren/mesh"
)

// TestUnlabelDue: the label of a changed claim goes some time after the last change, and when that has come publish runs again.
func TestUnlabelDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		a := &Agent{publishLoop: loop.New(func(context.Context) error { runs++; return nil }, loop.Options{})}
		go a.publishLoop.Run(t.Context())
		there, gone := kube.Own{Labelled: true}, kube.Own{}
		for i, step := range []struct {
			own     kube.Own
			changed bool // the claim did, and was published
			wait    time.Duration
			due     bool
			runs    int
		}{
			{gone, true, time.Hour, false, 1},
			{there, false, labelled / 2, false, 1},
			{there, true, labelled / 2, false, 2},
			{there, false, labelled / 2, false, 3},
			{there, false, labelled, true, 3},
			{there, false, time.Hour, true, 3},
			{gone, false, time.Hour, false, 3},
			{there, false, labelled, false, 4},
			{there, false, 0, true, 4},
		} {
			if step.changed {
				a.unlabelAt = time.Time{}
			}
			if due := a.unlabelDue(step.own); due != step.due {
				t.Errorf("step %d: due is %v, want %v", i+1, due, step.due)
			}
			time.Sleep(step.wait)
			synctest.Wait()
			if runs != step.runs {
				t.Errorf("step %d: publish ran %d times, want %d", i+1, runs, step.runs)
			}
		}
	})
}

// TestClaim is what the node would publish, and what it says of its own Node's mistakes.
func TestClaim(t *testing.T) {
	a := &Agent{config: Config{NodeName: "n1", ListenPort: 4500}, key: identity.NewPrivateKey(), clock: &clock.Record{}}
	plan := mesh.Plan{Guard: mesh.Guard{
		Own:  []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:244:0:1::/64")},
		Mesh: []netip.Addr{netip.MustParseAddr("10.244.1.1"), netip.MustParseAddr("fd00:244:0:1::1")},
	}}
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	const ofAddresses = "192.0.2.1:4500,[2001:db8::1]:4500"
	for _, c := range []struct {
		name      string
		own       kube.Own
		endpoints string
		problems  []string
	}{
		{"the Node's addresses", kube.Own{Addresses: addresses}, ofAddresses, nil},
		{"no address yet", kube.Own{}, "", nil},
		{"the operator's override", kube.Own{Addresses: addresses, EndpointOverride: "203.0.113.7:51821, [2001:db8::7]:1"},
			"203.0.113.7:51821,[2001:db8::7]:1", nil},
		{"an override that is none", kube.Own{Addresses: addresses, EndpointOverride: "203.0.113.7:51821,n1.example.org:1"}, ofAddresses,
			[]string{`annotation warren.dev/endpoint-override: "n1.example.org:1" is not address:port, like 192.0.2.1:51820 or [2001:db8::1]:51820`}},
		{"addresses left out", kube.Own{Addresses: addresses, Problems: []string{"address x", "address y"}}, ofAddresses,
			[]string{"address x", "address y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim, refusals := a.claim(plan, c.own)
			want := map[string]string{
				mesh.AnnotationPublicKey: a.key.Public().String(), mesh.AnnotationEndpoints: c.endpoints,
				mesh.AnnotationPodCIDRs: "10.244.1.0/24,fd00:244:0:1::/64", mesh.AnnotationMeshAddresses: "10.244.1.1,fd00:244:0:1::1",
				mesh.AnnotationVersion: version.String(), mesh.AnnotationClockSteps: "0",
			}
			if diff := cmp.Diff(want, claim.Annotations()); diff != "" {
				t.Errorf("claim (-want +got):\n%s", diff)
			}
			var problems []mesh.Refusal
			for _, detail := range c.problems {
				problems = append(problems, mesh.Refusal{Node: "n1", Reason: mesh.Malformed, Detail: detail})
			}
			if diff := cmp.Diff(problems, refusals); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
}
