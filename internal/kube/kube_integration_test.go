package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/e2e/lab/cluster"
	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
	"github.com/warren-mesh/warren/mesh"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 60 * time.Second

// server is a real API server with our manifests, and the Nodes n1 and n2.
type server struct {
	*cluster.Cluster
	ns    *namespace
	admin kubernetes.Interface
	// ours is the admin's client for our own types.
	ours rest.Interface
}

func TestAPIServer(t *testing.T) {
	s := startServer(t)
	t.Run("the CRD keeps a NodeKey as it is", s.testNodeKeySchema)
	t.Run("grants and claims", s.testGrantsAndClaims)
	t.Run("heartbeats", s.testHeartbeats)
	t.Run("the label of a changed claim", s.testLabel)
	t.Run("the own Node comes and goes", s.testOwnNode)
	t.Run("another Node comes and goes", s.testOtherNode)
	t.Run("Nodes are listed in pages", s.testPages)
	t.Run("a watch goes on from its bookmarks", s.testBookmarks)
	t.Run("NodeKeys", s.testNodeKeys)
	t.Run("blocks", s.testBlocks)
	t.Run("a block's Node is deleted by mistake", s.testBlockOfLostNode)
	t.Run("two nodes race for a block", s.testRace)
	t.Run("a claim for a Node that is gone", s.testNodeGone)
	t.Run("NetworkUnavailable", s.testCondition)
	t.Run("Events", s.testEvents)
	t.Run("Pods of the own node", s.testPodsHere)
	t.Run("all Nodes' and Pods' addresses", s.testSurvey)
	t.Run("what policy reads", s.testPolicies)
	t.Run("ServiceCIDRs", s.testServiceCIDRs)
	t.Run("what an agent must not do", s.testForbidden)
	t.Run("what an agent may not do and has to", s.testPermissions)
	t.Run("the API server goes and comes back", s.testRestart)
}

func startServer(t *testing.T) *server {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace for the API server needs root")
	}
	programs, err := assets.Find()
	if err != nil {
		t.Fatalf("%v: run `make control-plane` first", err)
	}
	RedirectKlog(zap.NewNop()) // what client-go says of an API server that is taken away
	t.Cleanup(klog.ClearLogger)
	s := &server{ns: newNamespace(t, "172.30.0.1/32")}
	s.Cluster, err = cluster.Start(t.Context(), cluster.Options{
		Assets: programs, Dir: t.TempDir(),
		Addresses:    []netip.Addr{netip.MustParseAddr("172.30.0.1")},
		PodCIDRs:     []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd44::/48")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd96::/108")},
		Start:        s.ns.start, HTTPDial: s.ns.dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.admin = s.Admin()
	if s.ours, err = newOurClient(s.AdminConfig(), -1, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.ApplyFiles(t.Context(), "../../manifests/base"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"n1", "n2"} {
		s.addNode(t, name)
	}
	return s
}

// addNode makes a Node with an address, as its kubelet would.
func (s *server) addNode(t *testing.T, name string) *corev1.Node {
	t.Helper()
	node, err := s.admin.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.patchStatus(t, name, `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"},{"type":"ExternalIP","address":"bad"}]}}`)
	return node
}

func (s *server) node(t *testing.T, name string) *corev1.Node {
	t.Helper()
	node, err := s.admin.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return node
}

func (s *server) patch(t *testing.T, name, patch string) {
	t.Helper()
	s.patchAs(t, s.admin, name, patch)
}

// say changes a Node's annotations together with the label by which the others are told, as its agent does.
func (s *server) say(t *testing.T, name, annotations string) {
	t.Helper()
	s.patch(t, name, fmt.Sprintf(`{"metadata":{"annotations":%s,"labels":{%q:""}}}`, annotations, mesh.LabelChanged))
}

func (s *server) patchStatus(t *testing.T, name, patch string) {
	t.Helper()
	s.patchAs(t, s.admin, name, patch, "status")
}

func (s *server) patchAs(t *testing.T, who kubernetes.Interface, name, patch string, subresources ...string) {
	t.Helper()
	nodes := who.CoreV1().Nodes()
	if _, err := nodes.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...); err != nil {
		t.Fatalf("patching %s by %s: %v", name, patch, err)
	}
}

// agentConfig is the credential of the agent on a Node: its ServiceAccount's token, bound to the Node.
func (s *server) agentConfig(t *testing.T, on string) *rest.Config {
	t.Helper()
	file, err := s.AgentKubeconfig(t.Context(), on)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	config.Dial = s.ns.dial
	return config
}

// agent is the client of the agent on n1 or n2; o.NodeName may be another, whose Node is not there yet.
func (s *server) agent(t *testing.T, on string, o Options) *Client {
	t.Helper()
	if o.NodeName == "" {
		o.NodeName = on
	}
	o.UserAgent = "warrend/test"
	client, err := newClient(s.agentConfig(t, on), o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// follower is a Watcher whose changes can be awaited and counted.
type follower struct {
	*Watcher
	changes chan struct{}
}

func follow(t *testing.T, client *Client) *follower {
	t.Helper()
	f := &follower{changes: make(chan struct{}, 10000)}
	w := client.Watch(t.Context(), func() { f.changes <- struct{}{} })
	t.Cleanup(w.Wait)
	f.Watcher = w
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	return f
}

// await waits until the snapshot is as wanted, and returns how many changes that took. A change nobody is told of is
// never seen.
func (f *follower) await(t *testing.T, what string, wanted func(Snapshot) bool) int {
	t.Helper()
	timeout := time.After(patience)
	for changes := 0; ; changes++ {
		if wanted(f.Snapshot()) {
			return changes
		}
		select {
		case <-f.changes:
		case <-timeout:
			t.Fatalf("waited for %s; the last snapshot is %+v", what, f.Snapshot())
		}
	}
}

// drain forgets the changes so far.
func (f *follower) drain() {
	for len(f.changes) > 0 {
		<-f.changes
	}
}

func (s *server) nodeKey(t *testing.T, name string) *v1alpha1.NodeKey {
	t.Helper()
	var key v1alpha1.NodeKey
	if err := s.ours.Get().Resource(v1alpha1.ResourceNodeKeys).Name(name).Do(t.Context()).Into(&key); err != nil {
		t.Fatal(err)
	}
	return &key
}

func (s *server) createKey(ctx context.Context, key *v1alpha1.NodeKey) error {
	return s.ours.Post().Resource(v1alpha1.ResourceNodeKeys).Body(key).Do(ctx).Error()
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// beat is a kubelet's heartbeat.
func beat(i int) string {
	at := time.Now().Add(time.Duration(i) * time.Second).UTC().Format(time.RFC3339)
	return fmt.Sprintf(`{"metadata":{"annotations":{"volumes.kubernetes.io/beat":"%d"},"labels":{"beat":"%d"}},`+
		`"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q}],"images":[{"names":["i%d"]}]}}`, i, i, at, i)
}
