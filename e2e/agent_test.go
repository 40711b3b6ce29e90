package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/mesh"
)

func (s *scene) node(ctx context.Context, t *testing.T, name string) *corev1.Node {
	t.Helper()
	node, err := s.Cluster().Admin().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// labelled is what stands on a Node beside a claim that changed: without it nobody is told of one.
var labelled = map[string]string{mesh.LabelChanged: ""}

// annotate changes annotations of a Node so that everybody is told, as its agent could.
func (s *scene) annotate(ctx context.Context, t *testing.T, node string, annotations map[string]any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations, "labels": labelled}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cluster().Admin().CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestPublish: the claim, its NodeKey, the condition; put back when removed, and never a heartbeat. The label of a changed claim goes.
func TestPublish(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual, UnderlayFamilies: lab.Dual})
	s.meshed(ctx, t)
	n1 := s.Node("n1")
	published := s.claim(ctx, t, "n1")
	key, err := identity.ParsePublicKey(publicKey(ctx, t, n1))
	if err != nil {
		t.Fatal(err)
	}
	want := mesh.Claim{PublicKey: key, PodCIDRs: n1.PodCIDRs, MeshAddresses: n1.MeshAddresses, Version: published[mesh.AnnotationVersion]}
	for _, addr := range n1.Addresses {
		want.Endpoints = append(want.Endpoints, netip.AddrPortFrom(addr, 51820))
	}
	if diff := cmp.Diff(want.Annotations(), published); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	s.checkNodeKey(ctx, t, key)
	eventually(ctx, t, 5*time.Second, func() error {
		for _, c := range s.node(ctx, t, "n1").Status.Conditions {
			if c.Type == corev1.NodeNetworkUnavailable && c.Status == corev1.ConditionFalse {
				return nil
			}
		}
		return errors.New("NetworkUnavailable is not False")
	})

	s.annotate(ctx, t, "n1", map[string]any{mesh.AnnotationPublicKey: nil, mesh.AnnotationPodCIDRs: "10.0.0.0/8", "example.com/other": "kept"})
	eventually(ctx, t, 5*time.Second, func() error { return same(want.Annotations(), s.claim(ctx, t, "n1")) })
	if s.node(ctx, t, "n1").Annotations["example.com/other"] != "kept" {
		t.Error("an annotation that is not ours was lost")
	}

	override := "198.51.100.7:4500,[2001:db8::7]:4500"
	s.annotate(ctx, t, "n1", map[string]any{mesh.AnnotationEndpointOverride: override})
	eventually(ctx, t, 5*time.Second, func() error {
		if got := s.node(ctx, t, "n1").Annotations[mesh.AnnotationEndpoints]; got != override {
			return fmt.Errorf("endpoints %q, want the override", got)
		}
		return nil
	})
	if got := s.node(ctx, t, "n1").Annotations[mesh.AnnotationEndpointOverride]; got != override {
		t.Errorf("the operator's override became %q", got)
	}
	s.annotate(ctx, t, "n1", map[string]any{mesh.AnnotationEndpointOverride: nil})
	eventually(ctx, t, 5*time.Second, func() error { return same(want.Annotations(), s.claim(ctx, t, "n1")) })

	before := s.node(ctx, t, "n1").ResourceVersion
	time.Sleep(3 * time.Second) // That nothing is written can only be seen by waiting.
	if after := s.node(ctx, t, "n1").ResourceVersion; after != before {
		t.Errorf("the Node was written in 3 s without a reason: resourceVersion %s to %s", before, after)
	}

	if err := n1.StopAgent(ctx); err != nil { // another than the one that put the label there takes it away
		t.Fatal(err)
	}
	s.startAgent(ctx, t, n1)
	if _, there := s.node(ctx, t, "n1").Labels[mesh.LabelChanged]; !there {
		t.Error("the label has gone already")
	}
	eventually(ctx, t, 45*time.Second, func() error {
		for _, name := range []string{"n1", "n2"} {
			if _, there := s.node(ctx, t, name).Labels[mesh.LabelChanged]; there {
				return fmt.Errorf("%s has the label still", name)
			}
		}
		return same(want.Annotations(), s.claim(ctx, t, "n1"))
	})
}

// claim is what stands on a Node of what an agent publishes.
func (s *scene) claim(ctx context.Context, t *testing.T, node string) map[string]string {
	t.Helper()
	ours := map[string]string{}
	for key, value := range s.node(ctx, t, node).Annotations {
		if strings.HasPrefix(key, mesh.AnnotationPrefix) && key != mesh.AnnotationEndpointOverride {
			ours[key] = value
		}
	}
	return ours
}

func same(want, got map[string]string) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("annotations (-want +got):\n%s", diff)
	}
	return nil
}

func (s *scene) checkNodeKey(ctx context.Context, t *testing.T, key identity.PublicKey) {
	t.Helper()
	client, err := dynamic.NewForConfig(s.Cluster().AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	resource := schema.GroupVersionResource{Group: "warren.dev", Version: "v1alpha1", Resource: "nodekeys"}
	object, err := client.Resource(resource).Get(ctx, v1alpha1.NodeKeyName(key), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owners := object.GetOwnerReferences()
	node := s.node(ctx, t, "n1")
	if len(owners) != 1 || owners[0].UID != node.UID {
		t.Errorf("the NodeKey's owners are %v, want Node n1 (%s)", owners, node.UID)
	}
}

// TestAMalformedNode is left out with an Event, a metric and a log line; the others never notice.
func TestAMalformedNode(t *testing.T) {
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	stream := s.stream(ctx, t, "n1", "n2")
	bad := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "bad", Annotations: map[string]string{
		mesh.AnnotationPublicKey: "bm90IGEga2V5",
	}}}
	if _, err := s.Cluster().Admin().CoreV1().Nodes().Create(ctx, bad, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 10*time.Second, func() error {
		if metric := scrape(ctx, t, s.Node("n1")); !strings.Contains(metric, `warren_refused_claims{reason="Malformed"} 1`) {
			return errors.New("no metric")
		}
		status, err := s.Node("n1").Run(ctx, "warren", "status")
		if err != nil || !strings.Contains(status, "refused of bad (Malformed)") {
			return fmt.Errorf("status %q, %w", status, err)
		}
		events, err := s.Cluster().Admin().EventsV1().Events("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Regarding.Name == "n1" && e.Related != nil && e.Related.Name == "bad" && strings.Contains(e.Note, "public-key") {
				return nil
			}
		}
		return fmt.Errorf("no Event among %d", len(events.Items))
	})
	wantLogged(t, s.Node("n1"), "refused; the rest is used", `"node":"bad"`, "public-key")
	if result := stream.Stop(); result.Lost != 0 || result.Sent == 0 {
		t.Errorf("between the others: %s, want none lost", result)
	}
	s.sealed(ctx, t)
}

// scrape is an agent's /metrics.
func scrape(ctx context.Context, t *testing.T, n *lab.Node) string {
	t.Helper()
	return ask(ctx, t, n, "/metrics")
}

// ask is what an agent answers by HTTP.
func ask(ctx context.Context, t *testing.T, n *lab.Node, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return n.Dial(ctx, network, address)
	}, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.MetricsAddress+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s: %v", path, response.Status, text, err)
	}
	return string(text)
}

// TestLooking: metrics, status, peers and plan agree with what wg, ip and nft show.
func TestLooking(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual})
	s.meshed(ctx, t)
	n1, n2 := s.Node("n1"), s.Node("n2")
	key := publicKey(ctx, t, n2)

	// A packet of the node's own with a pod's address as source, by the wrong way, is stopped and counted.
	run(ctx, t, &n1.Host, "", "ip", "route", "add", n2.PodCIDRs[0].Addr().Next().Next().String(), "via", "172.30.0.1")
	_ = n1.Ping(ctx, n2.Pod("p1").Address(true), lab.PingOptions{Timeout: 100 * time.Millisecond})
	run(ctx, t, &n1.Host, "", "ip", "route", "delete", n2.PodCIDRs[0].Addr().Next().Next().String())

	for _, path := range []string{"/healthz", "/readyz"} {
		if got := ask(ctx, t, n1, path); got != "ok\n" {
			t.Errorf("%s: %q, want ok", path, got)
		}
	}
	metrics := scrape(ctx, t, n1)
	for _, want := range []string{
		"warren_peers 1\n", "warren_wireguard_up 1\n", `warren_peer_last_handshake_seconds{node="n2"}`,
		`warren_peer_receive_bytes_total{node="n2"}`, `warren_peer_transmit_bytes_total{node="n2"}`,
		`warren_sync_duration_seconds_count{part="route"}`, `warren_refused_claims{reason="Malformed"} 0`,
		"warren_wireguard_messages_total", "warren_rtnetlink_messages_total", "warren_clear_stopped_bytes_total 84\n",
		"warren_clear_stopped_packets_total 1\n", `warren_guard_dropped_packets_total{reason="clear"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	for command, wants := range map[string][]string{
		"status": {"node: n1\n", "ready: yes", "interface: warren0 (" + deviceOf(ctx, t, n1) + ")", "peers: 1", "1 packets, 84 B"},
		"peers":  {"node: n2\n", "peer: " + key, "endpoint: 172.30.0.12:51820", n2.PodCIDRs[0].String(), "seconds ago", "sent"},
		"plan":   {"# node n1\n", "peer: " + key, "unreachable 10.244.0.0/16 proto 87", n2.PodCIDRs[0].String() + " dev warren0 proto 87 src"},
	} {
		out := run(ctx, t, &n1.Host, "", "warren", command)
		for _, want := range wants {
			if want == "seconds ago" {
				want = "s ago"
			}
			if !strings.Contains(out, want) {
				t.Errorf("warren %s lacks %q:\n%s", command, want, out)
			}
		}
	}
	var peers []map[string]any
	if err := json.Unmarshal([]byte(run(ctx, t, &n1.Host, "", "warren", "peers", "-o", "json")), &peers); err != nil || len(peers) != 1 {
		t.Errorf("warren peers -o json: %v, %v", peers, err)
	}
	s.sealed(ctx, t)
}
