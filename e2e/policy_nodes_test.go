package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
)

// hostPod is a Pod of n2's own network, which is no pod to policy.
const hostPod = `
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: x, labels: {app: host}}
spec: {nodeName: n2, hostNetwork: true, containers: [{name: one, image: none}]}
`

// toNodes are pods' ways to nodes.
var toNodes = []string{"a,c>n1,n2,n3,mesh1,mesh2,mesh3/tcp,udp,sctp,icmp"}

// nodeCases: probes come from the own node, always; other nodes are judged, by the addresses that they have toward pods.
var nodeCases = []policyCase{
	{"none", "", nil, []string{"n1,n2,n3,n1@node>a,b", "n2,n3>c", "out>n2", "n1>n2", "a,c>n1,n2,n3,mesh1,mesh2,mesh3,out/tcp,udp,sctp,icmp"}},
	{"the own node reaches a pod that nobody else does", np("x", "deny", "podSelector: {}\npolicyTypes: [Ingress, Egress]"),
		[]string{"n2,n3>a,b", "n1,n3>c"}, []string{"n1,n1@node,n2,n3>a,b", "n1,n2,n2@node,n3>c"}},
	{"the own node, by ClusterNetworkPolicy", cnp("deny", "Admin", 1, `ingress: [{action: Deny, from: [{namespaces: {}}]}]`), nil, []string{"n1,n1@node>a", "n2>c"}},
	{"every pod is no node", onA("ingress: [{from: [{namespaceSelector: {}}]}]"), []string{"n2,n3>a"}, []string{"n1,n2,n3,b,c,d,e>a"}},
	{"another node by its mesh addresses", onA(`ingress: [{from: [{ipBlock: {cidr: $mesh24/32}}, {ipBlock: {cidr: "$mesh26/128"}}]}]`),
		[]string{"n3,c>a"}, []string{"n1,n2,n3,c>a"}},
	{"another node within a block", onA(`ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16, except: [$net34]}}]}]`),
		[]string{"n2,n3,b,c,d,e>a//6", "n3,e>a"}, []string{"n1,n2,n3,b,c,d,e>a"}},
	{"egress to the own node is free under NetworkPolicy", np("x", "deny", "podSelector: {}\npolicyTypes: [Egress]"),
		[]string{"a>n2,n3,mesh2,mesh3", "c>n1,n3,mesh1,mesh3"}, toNodes},
	{"egress to another node by a block", onA(`policyTypes: [Egress]
egress: [{to: [{ipBlock: {cidr: $n24/32}}, {ipBlock: {cidr: $mesh24/32}}, {ipBlock: {cidr: "$n26/128"}}, {ipBlock: {cidr: "$mesh26/128"}}]}]`),
		[]string{"a>n3,mesh3"}, toNodes},
	{"nodes that are denied", cnp("deny", "Admin", 1, "egress: [{action: Deny, to: [{nodes: {matchLabels: {kubernetes.io/hostname: n2}}}]}]"),
		[]string{"a,c>n2,mesh2"}, toNodes},
	{"all nodes, by a port", cnp("deny", "Admin", 1, "egress: [{action: Deny, to: [{nodes: {}}], protocols: [{tcp: {destinationPort: {number: 7}}}]}]"),
		[]string{"a,c>n1,n2,n3,mesh1,mesh2,mesh3/tcp"}, toNodes},
	{"nodes that are accepted", cnp("accept", "Admin", 1, "egress: [{action: Accept, to: [{nodes: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n3]}]}}]}]") +
		np("x", "deny", "podSelector: {}\npolicyTypes: [Egress]"), []string{"a>n2,mesh2", "c>n1,mesh1"}, toNodes},
	{"the own node under Baseline", cnp("deny", "Baseline", 1, "egress: [{action: Deny, to: [{nodes: {matchLabels: {kubernetes.io/hostname: n1}}}]}]") +
		np("x", "p", "podSelector: {matchLabels: {app: c}}\npolicyTypes: [Egress]\negress: [{}]"), []string{"a>n1,mesh1"}, toNodes},
	{"the own node by networks", cnp("deny", "Admin", 1, `egress: [{action: Deny, to: [{networks: [$n14/32, "$mesh16/128"]}]}]`),
		[]string{"a,c>n1//4", "a,c>mesh1//6"}, toNodes},
	{"who is outside", onA(`policyTypes: [Egress]
egress: [{to: [{ipBlock: {cidr: $out4/32}}], ports: [{port: 7}, {protocol: SCTP, port: 7}]}]`), []string{"a>out/udp,icmp", "a>out//6"}, []string{"a,c>out/tcp,udp,sctp,icmp"}},
	// With the Pod host/x in n2's network.
	{"a pod of the node's network is no subject", np("x", "deny", "podSelector: {matchLabels: {app: host}}\npolicyTypes: [Ingress, Egress]") +
		cnp("deny", "Admin", 1, `ingress: [{action: Deny, from: [{namespaces: {}}]}]`), nil, []string{"out,n1,n3>n2", "n2>n3", "d>n2/tcp,udp,sctp,icmp"}},
	{"and nobody's destination by its labels", onA("policyTypes: [Egress]\negress: [{to: [{podSelector: {matchLabels: {app: host}}}]}]"), []string{"a>n2,n3,mesh2,mesh3"}, []string{"a>n1,n2,n3,mesh1,mesh2,mesh3/tcp,udp,sctp,icmp"}},
	{"and no peer by its labels", onA("ingress: [{from: [{podSelector: {matchLabels: {app: host}}}]}]"), []string{"n2,c>a"}, []string{"n1,n2,c>a"}},
}

func (s *scene) policyNodes(ctx context.Context, t *testing.T) {
	s.apply(ctx, t, hostPod)
	pods := s.Cluster().Admin().CoreV1().Pods("x")
	host, err := pods.Get(ctx, "host", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	host.Status.Phase, host.Status.PodIP = corev1.PodRunning, s.Node("n2").Addresses[0].String()
	for _, a := range s.Node("n2").Addresses {
		host.Status.PodIPs = append(host.Status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	if _, err := pods.UpdateStatus(ctx, host, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.runAll(ctx, t, nodeCases)
	if err := pods.Delete(ctx, "host", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
}

// servicePods are behind the ClusterIPs 10.96.0.1, ... and fd00:10:96::1, ..., and the node ports 30001, ... and, for those of a node that keep
// the client's address, 30101, ....
var servicePods = []string{"a", "c"}

const servicePort = 80

// service is where a service is reached: "svc-a" by its ClusterIPs, "np-a@n1" by n1's node port, and "local-a@n1" by that which keeps the
// client's address.
func (s *scene) service(name string) (at []netip.AddrPort, is bool) {
	kind, rest, _ := strings.Cut(name, "-")
	pod, node, _ := strings.Cut(rest, "@")
	for i, behind := range servicePods {
		if behind != pod {
			continue
		}
		switch kind {
		case "svc":
			for _, ip := range []string{"10.96.0.%d", "fd00:10:96::%d"} {
				at = append(at, netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(ip, i+1)), servicePort))
			}
		case "np", "local":
			port := uint16(30001 + i)
			if kind == "local" {
				port += 100
			}
			for _, a := range s.Node(node).Addresses {
				at = append(at, netip.AddrPortFrom(a, port))
			}
		}
	}
	return at, len(at) > 0
}

// startServices translates as kube-proxy does. To node ports of the usual kind and for a pod that calls itself it masquerades; of the other
// kind there are only those that lead to pods of the own node.
func (s *scene) startServices(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range s.Nodes() {
		var to, from strings.Builder
		for _, name := range servicePods {
			pod := s.podOf(name)
			for i, a := range pod.Addresses {
				family := "ip"
				if a.Is6() {
					family = "ip6"
				}
				rule := func(at netip.AddrPort, mark string) {
					for _, proto := range []string{"tcp", "udp", "sctp"} {
						fmt.Fprintf(&to, "    %s daddr %s %s dport %d %s dnat %s to %s\n", family, at.Addr(), proto, at.Port(), mark, family, netip.AddrPortFrom(a, lab.EchoPort))
					}
				}
				cluster, _ := s.service("svc-" + name)
				ports, _ := s.service("np-" + name + "@" + n.Name)
				rule(cluster[i], "")
				rule(ports[i], "meta mark set meta mark or 0x4000")
				if pod.Node == n {
					local, _ := s.service("local-" + name + "@" + n.Name)
					rule(local[i], "")
				}
				fmt.Fprintf(&from, "    %s saddr %s %s daddr %s masquerade\n", family, a, family, a)
			}
		}
		run(ctx, t, &n.Host, fmt.Sprintf(`table inet services {
  chain prerouting {
    type nat hook prerouting priority -100
%s  }
  chain output {
    type nat hook output priority -100
%[1]s  }
  chain postrouting {
    type nat hook postrouting priority 100
    meta mark and 0x4000 != 0 masquerade
%s  }
}
`, to.String(), from.String()), "nft", "-f", "-")
		run(ctx, t, &n.Host, "", "ip", "route", "replace", "10.96.0.0/16", "dev", "eth0")
		run(ctx, t, &n.Host, "", "ip", "-6", "route", "replace", "fd00:10:96::/112", "dev", "eth0")
	}
}

// serviceCases: what is judged is where a packet goes after DNAT, and whom it comes from then.
var serviceCases = []policyCase{
	{"none", "", nil, []string{"a,b,c,d,e,n1,n2,n3>svc-a", "a,c,e>svc-c", "out>np-a@n1,np-a@n2,np-c@n1,np-c@n2,np-c@n3,local-a@n1,local-c@n2", "a,b,d,n3>np-a@n1", "a,b>np-c@n1"}},
	{"by the label of who calls", onA("ingress: [{from: [{podSelector: {matchLabels: {app: c}}}]}]"), []string{"b,d,e,n2,n3>svc-a"},
		[]string{"b,c,d,e,n1,n2,n3>svc-a"}},
	{"by the port behind it", onA("ingress: [{ports: [{port: 7}]}]"), []string{"b,c,e>svc-a/udp,sctp"}, []string{"b,c,e>svc-a"}},
	{"not by the service's own port", onA("ingress: [{ports: [{port: 80}, {protocol: UDP, port: 80}, {protocol: SCTP, port: 80}]}]"),
		[]string{"b,c,e>svc-a"}, []string{"b,c,e>svc-a", "n1>svc-a"}},
	{"egress by the label of who is behind it", np("x", "p", "podSelector: {}\npolicyTypes: [Egress]\negress: [{to: [{podSelector: {matchLabels: {app: a}}}]}]"),
		[]string{"a,b>svc-c,np-c@n1"}, []string{"b,c,d>svc-a", "c>np-a@n2", "a,b>svc-c,np-c@n1"}},
	{"not by the service's own address", np("x", "p", `podSelector: {}
policyTypes: [Egress]
egress: [{to: [{ipBlock: {cidr: 10.96.0.0/16}}, {ipBlock: {cidr: "fd00:10:96::/112"}}]}]`), []string{"b,c>svc-a", "a,b>svc-c"}, []string{"b,c>svc-a", "a,b>svc-c"}},
	{"a pod reaches itself", np("x", "deny", "podSelector: {}\npolicyTypes: [Ingress, Egress]"), []string{"b,e>svc-a,np-a@n1", "a>svc-c"},
		[]string{"a,b,e>svc-a,np-a@n1", "a,c>svc-c"}},
	{"node ports, closed", np("x", "deny", "podSelector: {}\npolicyTypes: [Ingress]"),
		[]string{"out>np-a@n1,np-a@n2,np-c@n1,np-c@n2,local-a@n1,local-c@n2"}, []string{"out>np-a@n1,np-a@n2,np-c@n1,np-c@n2,local-a@n1,local-c@n2"}},
	{"node ports, by the node that masquerades", np("x", "p", `podSelector: {matchLabels: {app: c}}
ingress: [{from: [{ipBlock: {cidr: $mesh14/32}}, {ipBlock: {cidr: "$mesh16/128"}}]}]`),
		[]string{"out>np-c@n2,np-c@n3,local-c@n2"}, []string{"out>np-c@n1,np-c@n2,np-c@n3,local-c@n2"}},
	{"node ports, by the client's address where that is seen", np("x", "p", `podSelector: {}
ingress: [{from: [{ipBlock: {cidr: $out4/32}}, {ipBlock: {cidr: "$out6/128"}}]}]`),
		[]string{"out>np-a@n2,np-c@n1"}, []string{"out>np-a@n1,np-a@n2,np-c@n1,np-c@n2,local-a@n1,local-c@n2"}},
	{"a service, by ClusterNetworkPolicy", cnp("deny", "Admin", 1, "ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: z}}}], protocols: [{tcp: {destinationPort: {number: 7}}}]}]"),
		[]string{"d,e>svc-a,svc-c/tcp"}, []string{"b,d,e>svc-a,svc-c"}},
}

func (s *scene) policyServices(ctx context.Context, t *testing.T) {
	s.startServices(ctx, t)
	s.runAll(ctx, t, serviceCases)
	for _, n := range s.Nodes() {
		run(ctx, t, &n.Host, "", "nft", "delete", "table", "inet", "services")
	}
}
