package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/cni"
)

// pools are a small one of four blocks and one of IPv6, in the lab's pod CIDRs and far from what its Nodes have of them.
const pools = `
apiVersion: warren.dev/v1alpha1
kind: IPPool
metadata: {name: main}
spec: {cidr: 10.244.128.0/26, blockSize: 28}
---
apiVersion: warren.dev/v1alpha1
kind: IPPool
metadata: {name: main6}
spec: {cidr: "fd00:10:244:8000::/120", blockSize: 124}
`

// newPoolScene starts a lab with pools, its capture and its agents.
func newPoolScene(ctx context.Context, t *testing.T, nodes int, manifest string, args ...string) *scene {
	t.Helper()
	s := bareScene(ctx, t, lab.Options{Nodes: nodes, PodFamilies: lab.Dual, AgentArgs: append([]string{"--ipam=pools"}, args...)})
	if err := s.Cluster().Apply(ctx, []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Nodes() {
		s.startAgent(ctx, t, n)
	}
	return s
}

// tryPodOf makes a Pod and gives it a network.
func (s *scene) tryPodOf(ctx context.Context, n *lab.Node, namespace, name string, annotations map[string]string) (*lab.Pod, error) {
	return n.AddPodLike(ctx, lab.PodOptions{Namespace: namespace, Name: name, Annotations: annotations})
}

func (s *scene) addPodOf(ctx context.Context, t *testing.T, n *lab.Node, namespace, name string, annotations map[string]string) *lab.Pod {
	t.Helper()
	p, err := s.tryPodOf(ctx, n, namespace, name, annotations)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// blocks are those that a node holds, of a pool or, without a name, of any.
func (s *scene) blocks(ctx context.Context, t *testing.T, node, pool string) []netip.Prefix {
	t.Helper()
	client, err := dynamic.NewForConfig(s.Cluster().AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.Resource(v1alpha1.GroupVersion.WithResource(v1alpha1.ResourceIPBlocks)).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var held []netip.Prefix
	for _, item := range list.Items {
		spec, _ := item.Object["spec"].(map[string]any)
		if spec["nodeName"] == node && (pool == "" || spec["pool"] == pool) && item.GetDeletionTimestamp() == nil {
			held = append(held, netip.MustParsePrefix(fmt.Sprint(spec["cidr"])))
		}
	}
	return held
}

// TestPools: pods come until their node holds a second block, the mesh carries it, the pool is used up, which is said, and what is empty
// goes back.
func TestPools(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	const room = 13 // of a /28
	s := newPoolScene(ctx, t, 3, pools, "--block-idle=3s")
	n1, n2 := s.Node("n1"), s.Node("n2")
	for _, n := range s.Nodes() {
		s.addPodOf(ctx, t, n, "default", "p-"+n.Name, nil)
	}
	for _, n := range s.Nodes() {
		if got := s.blocks(ctx, t, n.Name, ""); len(got) != 2 {
			t.Fatalf("%s holds %v at the start, want one block of each family", n.Name, got)
		}
	}
	first := s.blocks(ctx, t, "n1", "main")
	for i := 1; i <= room; i++ {
		s.addPodOf(ctx, t, n1, "default", fmt.Sprint("more-", i), nil)
	}
	second := slices.DeleteFunc(s.blocks(ctx, t, "n1", "main"), func(p netip.Prefix) bool { return p == first[0] })
	if len(second) != 1 {
		t.Fatalf("n1 holds %v and %v for %d pods", first, second, room+1)
	}
	late := n1.Pod(fmt.Sprint("more-", room))
	if !second[0].Contains(late.Addresses[0]) || len(late.Addresses) != 2 {
		t.Errorf("the last pod has %s, want one of %s, and an IPv6 address", late.Addresses, second[0])
	}
	s.reached(ctx, t, late, n2.Pod("p-n2"), s.Node("n3").Pod("p-n3"))
	for i := 1; i < room; i++ {
		s.addPodOf(ctx, t, n2, "default", fmt.Sprint("n2-", i), nil)
	}
	_, err := s.tryPodOf(ctx, n2, "default", "too-many", nil)
	var e *types.Error
	if !errors.As(err, &e) || e.Code != cni.ErrNoAddress || !strings.Contains(e.Error(), "13 of 13 leased") ||
		!strings.Contains(e.Error(), "pool main has no block left: 4 of 4 claimed") {
		t.Errorf("a pod too many: %v", err)
	}
	eventually(ctx, t, 20*time.Second, func() error { return s.saysFull(ctx, "n2", "pool main has no block left") })
	eventually(ctx, t, 20*time.Second, func() error { return s.counted(ctx, "main", "map[blocks:4 capacity:4 nodes:3]") })
	for _, p := range n1.Pods()[1:] {
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	}
	eventually(ctx, t, time.Minute, func() error { // after the cool-down of what was released
		if got := s.blocks(ctx, t, "n1", ""); len(got) != 2 {
			return fmt.Errorf("n1 holds %v", got)
		}
		return nil
	})
	if got := s.blocks(ctx, t, "n1", "main"); !slices.Equal(got, first) {
		t.Errorf("n1 holds %v, want the block of its mesh address, %v", got, first)
	}
	s.reached(ctx, t, n1.Pods()[0], n2.Pod("p-n2"), s.Node("n3").Pod("p-n3"))
	s.poolsAway(ctx, t, n1, first[0])
	s.sealed(ctx, t)
}

// poolsAway wants a pod to have an address of the block that its node has, by an agent that was started without the API server; and
// nothing to be left of pools on a node that is left.
func (s *scene) poolsAway(ctx context.Context, t *testing.T, n *lab.Node, block netip.Prefix) {
	t.Helper()
	s.saved(ctx, t, n, 2)
	if err := s.Cluster().StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := n.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.Pods()[0].Remove(); err != nil {
		t.Error(err)
	}
	p := s.addPodOf(ctx, t, n, "default", "p-"+n.Name, nil)
	if !block.Contains(p.Addresses[0]) || len(p.Addresses) != 2 {
		t.Errorf("without the API server a pod has %s, want one of %s, and an IPv6 address", p.Addresses, block)
	}
	s.reached(ctx, t, p, s.Node("n2").Pod("p-n2"))
	if err := n.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	run(ctx, t, &n.Host, "", "warren", uninstall(n)...)
	if left := run(ctx, t, &n.Host, "", "ls", "-A", "/var/lib/warren"); left != "" {
		t.Errorf("uninstalling left %s", left)
	}
}

// reached wants all addresses of pods to be reached from one, and that one's from them, by each family that both have.
func (s *scene) reached(ctx context.Context, t *testing.T, from *lab.Pod, to ...*lab.Pod) {
	t.Helper()
	for _, p := range to {
		for _, pair := range [][2]*lab.Pod{{from, p}, {p, from}} {
			for _, a := range pair[1].Addresses {
				if !slices.ContainsFunc(pair[0].Addresses, func(b netip.Addr) bool { return a.Is4() == b.Is4() }) {
					continue
				}
				eventually(ctx, t, 20*time.Second, func() error { return quickPing(ctx, &pair[0].Host, a) })
			}
		}
	}
}

// counted is an error unless a pool's status is that.
func (s *scene) counted(ctx context.Context, pool, want string) error {
	client, err := dynamic.NewForConfig(s.Cluster().AdminConfig())
	if err != nil {
		return err
	}
	p, err := client.Resource(v1alpha1.GroupVersion.WithResource(v1alpha1.ResourceIPPools)).Get(ctx, pool, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if got := fmt.Sprint(p.Object["status"]); got != want {
		return fmt.Errorf("the status of pool %s is %s, want %s", pool, got, want)
	}
	return nil
}

// saysFull is an error unless there is an Event on the Node which says that.
func (s *scene) saysFull(ctx context.Context, node, what string) error {
	events, err := s.Cluster().Admin().EventsV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, event := range events.Items {
		if event.Reason == "PoolFull" && event.Regarding.Name == node && strings.Contains(event.Note, what) {
			return nil
		}
	}
	return errors.New("no Event says that the pool is full")
}
