package kube

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/mesh"
)

// find is the Node of that name, or one without a name.
func find(snapshot Snapshot, name string) mesh.Node {
	for _, n := range snapshot.Nodes {
		if n.Name == name {
			return *n
		}
	}
	return mesh.Node{}
}

func (s *server) testGrantsAndClaims(t *testing.T) {
	own, other := s.agent(t, "n1", Options{}), s.agent(t, "n2", Options{})
	f1, f2 := follow(t, own), follow(t, other)
	f1.await(t, "the grants of both Nodes", func(s Snapshot) bool {
		return len(find(s, "n1").Grants) == 2 && len(find(s, "n2").Grants) == 2 && len(s.Own.Problems) == 1
	})
	if got := f1.Snapshot().Own.Addresses; !slices.Equal(got, []netip.Addr{netip.MustParseAddr("192.0.2.1")}) {
		t.Errorf("own addresses %v", got)
	}

	s.patch(t, "n1", `{"metadata":{"annotations":{"warren.dev/endpoint-override":"192.0.2.9:1","foreign":"x"}}}`)
	uid := string(s.node(t, "n1").UID)
	claim := testClaim(1)
	if err := own.PublishClaim(t.Context(), uid, claim); err != nil {
		t.Fatal(err)
	}
	f1.await(t, "the own claim", func(s Snapshot) bool { return s.Own.Publishes(claim) && s.Own.EndpointOverride == "192.0.2.9:1" })
	f2.await(t, "n1's claim", func(s Snapshot) bool { return find(s, "n1").Claim.Equal(claim) })

	// Somebody removes a part, and it is put back.
	f1.drain()
	s.patch(t, "n1", `{"metadata":{"annotations":{"warren.dev/endpoints":null}}}`)
	f1.await(t, "the removal", func(s Snapshot) bool { return s.Own.Exists && !s.Own.Publishes(claim) })
	if err := own.PublishClaim(t.Context(), uid, claim); err != nil {
		t.Fatal(err)
	}
	f1.await(t, "what was put back", func(s Snapshot) bool { return s.Own.Publishes(claim) })

	// Saying the same again is no change, and somebody else's value is taken over.
	before := s.node(t, "n1").ResourceVersion
	if err := own.PublishClaim(t.Context(), uid, claim); err != nil {
		t.Fatal(err)
	}
	if after := s.node(t, "n1").ResourceVersion; after != before {
		t.Errorf("publishing the same again wrote the Node: %s, then %s", before, after)
	}
	s.patch(t, "n1", `{"metadata":{"annotations":{"warren.dev/version":"stolen"}}}`)
	if err := own.PublishClaim(t.Context(), uid, claim); err != nil {
		t.Fatal(err)
	}

	node := s.node(t, "n1")
	want := claim.Annotations()
	want[mesh.AnnotationEndpointOverride], want["foreign"] = "192.0.2.9:1", "x"
	for name := range node.Annotations {
		if !strings.HasPrefix(name, mesh.AnnotationPrefix) && name != "foreign" {
			delete(node.Annotations, name) // the controllers'
		}
	}
	if diff := cmp.Diff(want, node.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	for _, entry := range node.ManagedFields {
		ours := entry.Manager == fieldManager
		if ours != (entry.Operation == metav1.ManagedFieldsOperationApply) {
			t.Errorf("%s is by %s", entry.Manager, entry.Operation)
		}
		for _, not := range []string{"endpoint-override", "foreign", "podCIDR"} {
			if ours && strings.Contains(entry.FieldsV1.GetRawString(), not) {
				t.Errorf("we own %s: %s", not, entry.FieldsV1.GetRawString())
			}
		}
	}

	// What is wrong with another Node is told of that Node.
	s.say(t, "n1", `{"warren.dev/pod-cidrs":"10.244.0.7/24"}`)
	f2.await(t, "n1 malformed", func(s Snapshot) bool { return strings.Contains(find(s, "n1").Malformed, "10.244.0.7/24") })
	if f2.Snapshot().Nodes[1].Malformed != "" {
		t.Error("n2 is malformed too")
	}
	if err := own.PublishClaim(t.Context(), uid, claim); err != nil {
		t.Fatal(err)
	}
	f2.await(t, "n1 well again", func(s Snapshot) bool { return find(s, "n1").Malformed == "" })
}

func (s *server) testHeartbeats(t *testing.T) {
	f := follow(t, s.agent(t, "n1", Options{}))
	for i := range 20 {
		s.patch(t, "n1", beat(i))
		s.patchStatus(t, "n1", beat(i))
		s.patch(t, "n2", beat(i))
		s.patchStatus(t, "n2", beat(i))
	}
	s.say(t, "n2", `{"warren.dev/public-key":"broken"}`)
	calls := f.await(t, "the mark", func(s Snapshot) bool { return find(s, "n2").Malformed != "" })
	var keys v1alpha1.NodeKeyList
	if err := s.ours.Get().Resource(v1alpha1.ResourceNodeKeys).Do(t.Context()).Into(&keys); err != nil {
		t.Fatal(err)
	}
	want := 4 + len(keys.Items) // two Nodes that come, that all has synced, the mark, and what others left
	for ; calls < want; calls++ {
		select {
		case <-f.changes:
		case <-time.After(patience):
			t.Fatalf("%d calls, want %d", calls, want)
		}
	}
	if calls += len(f.changes); calls != want {
		t.Errorf("with 80 heartbeats there are %d calls, want %d", calls, want)
	}
	s.say(t, "n2", `{"warren.dev/public-key":null}`)
}

func (s *server) testOwnNode(t *testing.T) {
	f := follow(t, s.agent(t, "n1", Options{NodeName: "n3"}))
	if f.Snapshot().Own.Exists {
		t.Fatal("n3 exists before it does")
	}
	first := s.addNode(t, "n3")
	f.await(t, "n3", func(s Snapshot) bool { return s.Own.UID == string(first.UID) && len(s.Own.Addresses) == 1 })
	if err := s.admin.CoreV1().Nodes().Delete(t.Context(), "n3", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "n3 gone", func(s Snapshot) bool { return !s.Own.Exists && find(s, "n3").Name == "" })
	second := s.addNode(t, "n3")
	f.await(t, "n3 made anew", func(s Snapshot) bool {
		return s.Own.UID == string(second.UID) && find(s, "n3").UID == string(second.UID)
	})
	if err := s.admin.CoreV1().Nodes().Delete(t.Context(), "n3", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "n3 gone again", func(s Snapshot) bool { return !s.Own.Exists })
}

// testLabel: by it a changed claim is told, it goes whoever put it there, and without it nobody is told until it comes.
func (s *server) testLabel(t *testing.T) {
	own, other := s.agent(t, "n1", Options{}), s.agent(t, "n2", Options{})
	f1, f2 := follow(t, own), follow(t, other)
	uid, claim := string(s.node(t, "n1").UID), testClaim(2)
	if err := own.PublishClaim(t.Context(), uid, claim); err != nil {
		t.Fatal(err)
	}
	f1.await(t, "the label", func(s Snapshot) bool { return s.Own.Labelled && s.Own.Publishes(claim) })
	f2.await(t, "n1's claim", func(s Snapshot) bool { return find(s, "n1").Claim.Equal(claim) })
	wantError(t, "another UID", own.Unlabel(t.Context(), "another"), ErrNodeGone)
	for _, by := range []string{"the agent", "somebody else"} {
		if by == "somebody else" {
			s.say(t, "n1", `{}`)
			f1.await(t, "the label by hand", func(s Snapshot) bool { return s.Own.Labelled })
		}
		if err := own.Unlabel(t.Context(), uid); err != nil {
			t.Fatal(err)
		}
		f1.await(t, "no label of "+by, func(s Snapshot) bool { return !s.Own.Labelled && s.Own.Publishes(claim) })
		for _, entry := range s.node(t, "n1").ManagedFields {
			if strings.Contains(entry.FieldsV1.GetRawString(), mesh.LabelChanged) || entry.Manager == fieldManager && entry.Operation != metav1.ManagedFieldsOperationApply {
				t.Errorf("after the label of %s: %s by %s: %s", by, entry.Operation, entry.Manager, entry.FieldsV1.GetRawString())
			}
		}
	}
	claim.Version = "v9"
	s.patch(t, "n1", `{"metadata":{"annotations":{"warren.dev/version":"v9"}}}`)
	f1.await(t, "what somebody else changed", func(s Snapshot) bool { return s.Own.Publishes(claim) })
	s.say(t, "n2", `{"warren.dev/public-key":"broken"}`) // which comes after it
	f2.await(t, "n2's own", func(s Snapshot) bool { return s.Own.Published[mesh.AnnotationPublicKey] == "broken" })
	f1.await(t, "the mark", func(s Snapshot) bool { return find(s, "n2").Malformed != "" })
	if find(f2.Snapshot(), "n1").Claim.Version == "v9" {
		t.Error("a claim is told without the label")
	}
	s.say(t, "n1", `{}`)
	f2.await(t, "what somebody else changed", func(s Snapshot) bool { return find(s, "n1").Claim.Version == "v9" })
	s.say(t, "n2", `{"warren.dev/public-key":null}`)
}

// testOtherNode: its pod CIDRs come after it, and are those of the Node with that UID.
func (s *server) testOtherNode(t *testing.T) {
	f := follow(t, s.agent(t, "n1", Options{}))
	for range 2 {
		made := s.addNode(t, "n4")
		f.await(t, "n4 with pod CIDRs", func(s Snapshot) bool {
			n := find(s, "n4")
			return n.UID == string(made.UID) && len(n.Grants) == 2
		})
		var want []string
		for _, p := range find(f.Snapshot(), "n4").Grants {
			want = append(want, p.String())
		}
		if got := s.node(t, "n4").Spec.PodCIDRs; !slices.Equal(got, want) {
			t.Errorf("pod CIDRs %v are known as %v", got, want)
		}
		if err := s.admin.CoreV1().Nodes().Delete(t.Context(), "n4", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		f.await(t, "n4 gone", func(s Snapshot) bool { return find(s, "n4").Name == "" })
	}
}

func (s *server) testPages(t *testing.T) {
	source := s.agent(t, "n1", Options{}).newNodeSource(&nodeSet{})
	source.page = 1
	listed, err := source.ListWithContext(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range listed.(*seenList).Items {
		if n := item.(*seenNode); len(n.grants.prefixes) == 2 {
			got = append(got, n.Name)
		}
	}
	if want := []string{"n1", "n2"}; !slices.Equal(got, want) {
		t.Errorf("Nodes with pod CIDRs %v, want %v", got, want)
	}
}

// testBookmarks: the API server sends some before it ends a watch, of either kind. They are of no Node, and the next watch begins there.
func (s *server) testBookmarks(t *testing.T) {
	source := s.agent(t, "n1", Options{}).newNodeSource(&nodeSet{})
	if _, err := source.ListWithContext(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	seconds := int64(5)
	merged, err := source.WatchWithContext(t.Context(), metav1.ListOptions{TimeoutSeconds: &seconds, AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	defer merged.Stop()
	s.say(t, "n2", `{"other":"1"}`)
	s.say(t, "n2", `{"other":"2"}`)
	s.patch(t, "n2", `{"metadata":{"labels":{"warren.dev/changed":null}}}`)
	s.addNode(t, "n5")
	if err := s.admin.CoreV1().Nodes().Delete(t.Context(), "n5", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.patch(t, "n2", beat(99))
	last := s.node(t, "n2").ResourceVersion // of which the claims' watch is told by a bookmark alone
	told := map[string]bool{}
	for e := range merged.ResultChan() {
		n, ok := e.Object.(*seenNode)
		if !ok {
			t.Fatalf("the watch ends with %+v", e)
		}
		told[string(e.Type)+" "+n.Name] = true
	}
	for _, what := range []string{"ADDED n5", "DELETED n5", "MODIFIED n2", "BOOKMARK "} {
		if !told[what] {
			t.Errorf("%s is not told, among %v", what, told)
		}
	}
	if told["DELETED n2"] {
		t.Error("a label that goes is told as a deletion")
	}
	for what, at := range map[string]string{"rows": source.rowsAt, "claims": source.claimsAt} {
		if later(at, last) != at {
			t.Errorf("the %s go on from %s, after a change at %s", what, at, last)
		}
	}
}

func (s *server) testServiceCIDRs(t *testing.T) {
	f := follow(t, s.agent(t, "n1", Options{WatchServiceCIDRs: true}))
	holds := func(texts ...string) func(Snapshot) bool {
		return func(s Snapshot) bool {
			return slices.EqualFunc(s.ServiceCIDRs, texts, func(p netip.Prefix, text string) bool { return p.String() == text })
		}
	}
	f.await(t, "the cluster's service CIDRs", holds("10.96.0.0/16", "fd96::/108"))
	more := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "more"},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.97.0.0/24"}},
	}
	if _, err := s.admin.NetworkingV1().ServiceCIDRs().Create(t.Context(), more, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "one more service CIDR", holds("10.96.0.0/16", "10.97.0.0/24", "fd96::/108"))
}

func (s *server) testRestart(t *testing.T) {
	f := follow(t, s.agent(t, "n1", Options{}))
	if err := s.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if got := f.Snapshot(); len(got.Nodes) != 2 || !got.Own.Exists || !f.Synced() {
		t.Errorf("without an API server %d Nodes are known", len(got.Nodes))
	}
	if err := s.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.say(t, "n2", `{"warren.dev/public-key":"after"}`)
	f.await(t, "what came after the restart", func(s Snapshot) bool { return find(s, "n2").Malformed != "" })
}
