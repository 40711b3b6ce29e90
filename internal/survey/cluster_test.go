package survey

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/mesh"
)

func node(name string, grants ...string) mesh.Node {
	return mesh.Node{Name: name, Grants: prefixes(grants...), Claim: mesh.Claim{PodCIDRs: prefixes(grants...)}}
}

func pod(name, node string, addrs ...string) Pod {
	return Pod{Name: "default/" + name, Node: node, Addresses: addresses(addrs...), Running: true}
}

func TestCluster(t *testing.T) {
	claims := node("n1", "10.244.1.0/24")
	claims.Claim.PodCIDRs = prefixes("10.244.1.0/25", "10.244.0.0/16")
	two := []mesh.Node{node("n1", "10.244.1.0/24", "fd00:244:0:1::/64"), node("n2", "10.244.2.0/24", "fd00:244:0:2::/64")}
	pending := pod("b", "n2")
	pending.Running = false
	for _, c := range []struct {
		name    string
		cluster Cluster
		want    []string
	}{
		{"nothing", Cluster{}, nil},
		{"all well", Cluster{Nodes: two, Pods: []Pod{pod("a", "n1", "10.244.1.2", "fd00:244:0:1::2"), pending}}, nil},
		{"an address twice, and none", Cluster{Nodes: two, Pods: []Pod{pod("a", "n1", "10.244.1.2"), pod("b", "n1", "10.244.1.2"), pod("c", "n2")}}, []string{
			"10.244.1.2: it is pod default/a's on node n1 and pod default/b's on node n1: delete both pods, to have them made anew",
			"pod default/c: it runs on node n2 and has no address: look at the node's kubelet, and delete the pod, to have it made anew",
		}},
		{"an address of another node", Cluster{Nodes: two, Pods: []Pod{pod("a", "n1", "10.244.2.2")}}, []string{
			"10.244.2.2: it is pod default/a's, and in none of the grants of its node n1 (10.244.1.0/24, fd00:244:0:1::/64): delete the pod, to have it made anew: nobody routes that address to it",
		}},
		{"a pod on no node", Cluster{Pods: []Pod{pod("a", "n9", "10.244.2.2")}}, []string{"pod default/a: it is on node n9, which is not there: delete it"}},
		{"nodes", Cluster{Nodes: []mesh.Node{claims, node("n2"), node("n3", "10.244.0.0/18"), {Name: "n4", Malformed: "spec.podCIDRs: \"x\""}}}, []string{
			"10.244.1.0/24: granted to node n1, and overlaps 10.244.0.0/18, which was granted to node n3: make the younger of the two Nodes anew; until then the older one has it",
			"node n1: it claims 10.244.0.0/16, which is in none of its grants (10.244.1.0/24): look at its agent's log; nobody routes that to it",
			"node n2: it has no pod CIDR and no block: give it one: kube-controller-manager does, with --allocate-node-cidrs, or an IPPool",
			"node n4: spec.podCIDRs: \"x\": correct it; until then the node is no peer",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(c.cluster.Check())); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
