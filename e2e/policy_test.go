package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/warren-mesh/warren/e2e/lab"
)

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

// policyPods are by their names, which are their label "app", too.
var policyPods = []struct{ name, namespace, node string }{
	{"a", "x", "n1"}, {"b", "x", "n1"}, {"c", "x", "n2"}, {"d", "z", "n2"}, {"e", "z", "n3"},
}

// policyScene is three nodes that enforce policies, with policyPods.
func policyScene(ctx context.Context, t *testing.T) *scene {
	t.Helper()
	options := lab.Options{
		Nodes: 3, PodFamilies: lab.Dual, UnderlayFamilies: lab.IPv4, NoAgents: true,
		Manifests: []string{"../manifests/base", clusterPolicyCRD(t)},
	}
	s := &scene{Lab: lab.New(t, options)}
	if err := s.Cluster().Apply(ctx, []byte(policyNamespaces)); err != nil {
		t.Fatal(err)
	}
	if err := s.StartAgents(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range policyPods {
		s.addPolicyPod(ctx, t, p.node, p.namespace, p.name)
	}
	return s
}

func (s *scene) addPolicyPod(ctx context.Context, t *testing.T, node, namespace, name string) *lab.Pod {
	t.Helper()
	pod, err := s.Node(node).AddPodLike(ctx, lab.PodOptions{
		Namespace: namespace, Name: name, Labels: map[string]string{"app": name},
		Ports: []corev1.ContainerPort{{Name: "echo", ContainerPort: lab.EchoPort}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// clusterPolicyCRD is the file of the CustomResourceDefinition of ClusterNetworkPolicies, in the module's own folder.
func clusterPolicyCRD(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/network-policy-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml")
}

// knock is one attempt to reach a pod.
type knock struct {
	from, to string
	proto    string
	address  netip.Addr
}

func (p knock) String() string {
	return fmt.Sprintf("%s>%s/%s %s", p.from, p.to, p.proto, p.address)
}

// denied says whether one of the patterns is of it: "a>b", "a>b/udp", "*>b", "a>*".
func (p knock) denied(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		pair, proto, _ := strings.Cut(pattern, "/")
		from, to, _ := strings.Cut(pair, ">")
		return (from == "*" || from == p.from) && (to == "*" || to == p.to) && (proto == "" || proto == p.proto)
	})
}

// probeTimeout is how long an attempt waits for an answer.
const probeTimeout = 700 * time.Millisecond

// wrong are the attempts of all pods to all others whose outcome is not as it should be.
func (s *scene) wrong(ctx context.Context, denied []string) []string {
	var running sync.WaitGroup
	var mu sync.Mutex
	var wrong []string
	for _, from := range s.Pods() {
		for _, to := range s.Pods() {
			for _, address := range to.Addresses {
				for _, proto := range []string{"tcp", "udp"} {
					p := knock{from.Name, to.Name, proto, address}
					if from == to {
						continue
					}
					running.Go(func() {
						ctx, cancel := context.WithTimeout(ctx, probeTimeout)
						defer cancel()
						err := from.Reach(ctx, address, proto, 100)
						if (err != nil) != p.denied(denied) {
							mu.Lock()
							defer mu.Unlock()
							wrong = append(wrong, fmt.Sprintf("%s: %v", p, err))
						}
					})
				}
			}
		}
	}
	running.Wait()
	slices.Sort(wrong)
	return wrong
}

// reach wants all pods to reach all others but those that are denied.
func (s *scene) reach(ctx context.Context, t *testing.T, denied ...string) {
	t.Helper()
	eventually(ctx, t, 10*time.Second, func() error {
		if wrong := s.wrong(ctx, denied); len(wrong) > 0 {
			return fmt.Errorf("denied should be %q, and wrong is:\n%s", denied, strings.Join(wrong, "\n"))
		}
		return nil
	})
}

// policyCase is policies and whom they keep from whom.
type policyCase struct {
	name, policies string
	denied         []string
}

// run applies the case's policies, looks, and takes them away.
func (s *scene) run(ctx context.Context, t *testing.T, c policyCase) {
	t.Helper()
	if err := s.Cluster().Apply(ctx, []byte(c.policies)); err != nil {
		t.Fatal(err)
	}
	s.reach(ctx, t, c.denied...)
	s.deletePolicies(ctx, t)
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
