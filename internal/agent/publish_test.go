package agent

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/clock"
	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/internal/version"
	"github.com/warren-mesh/warren/mesh"
)

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
