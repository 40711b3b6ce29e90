package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestPolicies: who reaches whom, by TCP, UDP, SCTP and ICMP, over IPv4 and IPv6, on the same node and over the mesh. All is in one lab.
func TestPolicies(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := policyScene(ctx, t)
	t.Logf("SCTP by sockets: %v", lab.SCTPSockets())
	group := func(name string, run func(context.Context, *testing.T)) {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			defer s.deletePolicies(t.Context(), t)
			run(testContext(t), t)
			t.Logf("%s: %s", name, time.Since(start).Round(time.Second))
		})
	}
	group("NetworkPolicy", func(ctx context.Context, t *testing.T) { s.runAll(ctx, t, networkPolicies) })
	group("ClusterNetworkPolicy", func(ctx context.Context, t *testing.T) { s.runAll(ctx, t, clusterPolicies) })
	group("nodes", s.policyNodes)
	group("services", s.policyServices)
	group("paths", s.policyPaths)
	group("changes", s.policyChanges)
	group("lives", s.policyLives)
	group("first instant", s.policyFirstInstant)
	group("bad input", s.policyBadInput)
	group("reboot", s.policyReboot)
}

// policyNamespaces are those of policyPods.
const policyNamespaces = `
apiVersion: v1
kind: Namespace
metadata: {name: x, labels: {team: x}}
---
apiVersion: v1
kind: Namespace
metadata: {name: z, labels: {team: z}}
`

// policyPods are by their names, which are their label "app", too. Some have the label "role". Their port "echo" is not the same everywhere.
var policyPods = []struct {
	name, namespace, node, role string
	echo                        int32
}{
	{"a", "x", "n1", "front", 7}, {"b", "x", "n1", "back", 7}, {"c", "x", "n2", "", 8}, {"d", "z", "n2", "front", 7}, {"e", "z", "n3", "", 8},
}

// policyScene is three nodes that enforce policies, with policyPods.
func policyScene(ctx context.Context, t *testing.T) *scene {
	t.Helper()
	s := &scene{Lab: lab.New(t, policyLab(t))}
	s.startPolicies(ctx, t)
	return s
}

func policyLab(t *testing.T) lab.Options {
	t.Helper()
	return lab.Options{
		Nodes: 3, PodFamilies: lab.Dual, UnderlayFamilies: lab.Dual, NoAgents: true,
		Manifests: []string{"../manifests/base", clusterPolicyCRD(t)},
	}
}

// startPolicies starts the agents, and adds policyPods.
func (s *scene) startPolicies(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := s.Cluster().Apply(ctx, []byte(policyNamespaces)); err != nil {
		t.Fatal(err)
	}
	if s.network == nil {
		if err := s.StartAgents(ctx); err != nil {
			t.Fatal(err)
		}
	} else {
		for _, n := range s.Nodes() { // which wait for no peers
			s.startAgent(ctx, t, n)
		}
	}
	for _, p := range policyPods {
		s.addPolicyPod(ctx, t, p.node, p.namespace, p.name)
	}
}

// addPolicyPod adds a pod that answers on two ports.
func (s *scene) addPolicyPod(ctx context.Context, t *testing.T, node, namespace, name string) *lab.Pod {
	t.Helper()
	pod, err := s.Node(node).AddPodLike(ctx, policyPod(namespace, name))
	if err == nil {
		err = pod.EchoAlso(otherPort)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func policyPod(namespace, name string) lab.PodOptions {
	labels, echo := map[string]string{"app": name}, int32(lab.EchoPort)
	for _, p := range policyPods {
		if p.name == name && p.role != "" {
			labels["role"] = p.role
		}
		if p.name == name {
			echo = p.echo
		}
	}
	return lab.PodOptions{
		Namespace: namespace, Name: name, Labels: labels, Ports: []corev1.ContainerPort{
			{Name: "echo", ContainerPort: echo}, {Name: "talk", Protocol: corev1.ProtocolUDP, ContainerPort: lab.EchoPort},
			{Name: "signal", Protocol: corev1.ProtocolSCTP, ContainerPort: lab.EchoPort},
		},
	}
}

// clusterPolicyCRD is the file of the CustomResourceDefinition of ClusterNetworkPolicies: the named one or, without a name, that in the module's
// own folder.
func clusterPolicyCRD(t *testing.T) string {
	t.Helper()
	if file := os.Getenv("WARREN_CLUSTER_POLICY_CRD"); file != "" {
		return file
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/network-policy-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml")
}

// policyCase is policies and whom they keep from whom, among all pods or those that are named. What begins with $ in the policies is an
// address, or the network, of somebody: [scene.addressed].
type policyCase struct {
	name, policies string
	denied         []string
	among          []string
}

func (s *scene) runAll(ctx context.Context, t *testing.T, cases []policyCase) {
	t.Helper()
	for _, c := range cases {
		if s.network != nil && strings.Contains(c.policies, "$mesh") {
			continue // There are no mesh addresses that nodes would have toward pods.
		}
		t.Run(c.name, func(t *testing.T) { s.run(ctx, t, c) })
	}
}

// run applies the case's policies, looks, and takes them away.
func (s *scene) run(ctx context.Context, t *testing.T, c policyCase) {
	t.Helper()
	defer s.deletePolicies(ctx, t)
	s.apply(ctx, t, c.policies)
	s.reachAmong(ctx, t, c.among, c.denied)
}

func (s *scene) apply(ctx context.Context, t *testing.T, manifest string) {
	t.Helper()
	if err := s.Cluster().Apply(ctx, []byte(s.addressed(manifest))); err != nil {
		t.Fatal(err)
	}
}

// addressed puts addresses in: $a4 and $a6 are those of a pod, $n14 and $n16 of a node, $mesh14 and $mesh16 its mesh addresses, $net14 and
// $net16 its pod CIDRs, and $out4 and $out6 those of who is outside.
func (s *scene) addressed(manifest string) string {
	var pairs []string
	add := func(name string, is4 bool, value string) {
		family := "6"
		if is4 {
			family = "4"
		}
		pairs = append(pairs, "$"+name+family, value)
	}
	for _, h := range append(lab.PodHosts(s.Pods()), append(lab.NodeHosts(s.Nodes()), s.outside())...) {
		for _, a := range h.Addresses {
			add(h.Name, a.Is4(), a.String())
		}
	}
	for _, n := range s.Nodes() {
		number := strings.TrimPrefix(n.Name, "n")
		for _, p := range n.PodCIDRs {
			add("net"+number, p.Addr().Is4(), p.String())
		}
		for _, a := range n.MeshAddresses {
			add("mesh"+number, a.Is4(), a.String())
		}
	}
	return strings.NewReplacer(pairs...).Replace(manifest)
}

func (s *scene) deletePolicies(ctx context.Context, t *testing.T) {
	t.Helper()
	client, err := dynamic.NewForConfig(s.Cluster().AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct{ group, version, resource string }{
		{"networking.k8s.io", "v1", "networkpolicies"}, {"policy.networking.k8s.io", "v1alpha2", "clusternetworkpolicies"},
	} {
		resource := client.Resource(schema.GroupVersion{Group: r.group, Version: r.version}.WithResource(r.resource))
		list, err := resource.List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range list.Items {
			var err error
			if item.GetNamespace() == "" {
				err = resource.Delete(ctx, item.GetName(), metav1.DeleteOptions{})
			} else {
				err = resource.Namespace(item.GetNamespace()).Delete(ctx, item.GetName(), metav1.DeleteOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
