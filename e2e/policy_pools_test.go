package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestPoliciesWithPools: a node's mesh addresses, which are those of its blocks, are the node's to policies.
func TestPoliciesWithPools(t *testing.T) {
	ctx := testContext(t)
	s := &scene{Lab: lab.New(t, lab.Options{
		Nodes: 2, PodFamilies: lab.Dual, NoAgents: true, AgentArgs: []string{"--ipam=pools"},
		Manifests: []string{"../manifests/base", clusterPolicyCRD(t)},
	})}
	if err := s.Cluster().Apply(ctx, []byte(policyNamespaces), []byte(pools)); err != nil {
		t.Fatal(err)
	}
	if err := s.StartAgents(ctx); err != nil {
		t.Fatal(err)
	}
	s.addPolicyPod(ctx, t, "n1", "x", "a")
	s.addPolicyPod(ctx, t, "n2", "x", "c")
	for _, n := range s.Nodes() {
		n.MeshAddresses = nil
		for word := range strings.FieldsSeq(run(ctx, t, &n.Host, "", "ip", "-o", "address", "show", "dev", "warren0", "scope", "global")) {
			if p, err := netip.ParsePrefix(word); err == nil {
				n.MeshAddresses = append(n.MeshAddresses, p.Addr())
			}
		}
		if len(n.MeshAddresses) != 2 || !netip.MustParsePrefix("10.244.128.0/26").Contains(n.MeshAddresses[0]) {
			t.Fatalf("%s has the mesh addresses %s", n.Name, n.MeshAddresses)
		}
	}
	all := []string{"a,c>n1,n2,mesh1,mesh2/tcp,udp,icmp"}
	s.runAll(ctx, t, []policyCase{
		{"none", "", nil, all},
		{"a node is denied", cnp("deny", "Admin", 1, "egress: [{action: Deny, to: [{nodes: {matchLabels: {kubernetes.io/hostname: n2}}}]}]"),
			[]string{"a,c>n2,mesh2"}, all},
		{"a node is accepted", cnp("accept", "Admin", 1, "egress: [{action: Accept, to: [{nodes: {matchLabels: {kubernetes.io/hostname: n2}}}]}]") +
			np("x", "deny", "podSelector: {}\npolicyTypes: [Egress]"), []string{"c>n1,mesh1"}, all},
		{"its mesh addresses as blocks", np("x", "p", `podSelector: {}
ingress: [{from: [{ipBlock: {cidr: $mesh24/32}}, {ipBlock: {cidr: "$mesh26/128"}}]}]`), []string{"n1>c"}, []string{"n2>a", "n1,n2>c"}},
	})
}
