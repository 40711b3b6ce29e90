package kube

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/warren-mesh/warren/api/v1alpha1"
)

func (s *server) testNodeKeySchema(t *testing.T) {
	good := func() *v1alpha1.NodeKey {
		return &v1alpha1.NodeKey{
			ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeKeyName(testKey(99))},
			Spec:       v1alpha1.NodeKeySpec{PublicKey: testKey(99).String(), NodeName: "n1"},
		}
	}
	for name, spoil := range map[string]func(*v1alpha1.NodeKey){
		"a name that is no hash": func(k *v1alpha1.NodeKey) { k.Name = "mine" },
		"a short key":            func(k *v1alpha1.NodeKey) { k.Spec.PublicKey = "AAAA" },
		"33 bytes":               func(k *v1alpha1.NodeKey) { k.Spec.PublicKey = strings.Repeat("A", 44) },
		"stray bits at the end":  func(k *v1alpha1.NodeKey) { k.Spec.PublicKey = strings.Repeat("A", 42) + "B=" },
		"no node name":           func(k *v1alpha1.NodeKey) { k.Spec.NodeName = "" },
	} {
		bad := good()
		spoil(bad)
		if err := s.createKey(t.Context(), bad); !apierrors.IsInvalid(err) {
			t.Errorf("%s: error %v, want Invalid", name, err)
		}
	}
	if err := s.createKey(t.Context(), good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*v1alpha1.NodeKey){
		"another key":  func(k *v1alpha1.NodeKey) { k.Spec.PublicKey = testKey(98).String() },
		"another node": func(k *v1alpha1.NodeKey) { k.Spec.NodeName = "n2" },
	} {
		key := s.nodeKey(t, good().Name)
		change(key)
		err := s.ours.Put().Resource(v1alpha1.ResourceNodeKeys).Name(key.Name).Body(key).Do(t.Context()).Error()
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "cannot be changed") {
			t.Errorf("%s: error %v, want that it cannot be changed", name, err)
		}
	}
}

func (s *server) testNodeKeys(t *testing.T) {
	n1, n2 := s.agent(t, "n1", Options{}), s.agent(t, "n2", Options{})
	uid1, uid2 := s.node(t, "n1").UID, s.node(t, "n2").UID
	key := testKey(10)
	name := v1alpha1.NodeKeyName(key)
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: "n1", UID: uid1}
	check := func(what string) {
		t.Helper()
		have := s.nodeKey(t, name)
		if diff := cmp.Diff(v1alpha1.NodeKeySpec{PublicKey: key.String(), NodeName: "n1"}, have.Spec); diff != "" {
			t.Errorf("%s: spec (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff([]metav1.OwnerReference{owner}, have.OwnerReferences); diff != "" {
			t.Errorf("%s: owners (-want +got):\n%s", what, diff)
		}
	}
	if err := n1.EnsureNodeKey(t.Context(), key, string(uid1)); err != nil {
		t.Fatal(err)
	}
	check("created")
	before := s.nodeKey(t, name).ResourceVersion
	if err := n1.EnsureNodeKey(t.Context(), key, string(uid1)); err != nil {
		t.Fatal(err)
	}
	if after := s.nodeKey(t, name).ResourceVersion; after != before {
		t.Errorf("ensuring it again wrote it: %s, then %s", before, after)
	}
	err := n2.EnsureNodeKey(t.Context(), key, string(uid2))
	wantError(t, "n1's key for n2", err, ErrKeyTaken)
	if err == nil || !strings.Contains(err.Error(), key.String()) || !strings.Contains(err.Error(), `Node "n1"`) {
		t.Errorf("the error does not say which key and whose: %v", err)
	}
	check("after n2 asked for it")

	// An owner that is not ours is put right, as that of a Node which was deleted is. (This one exists, so that the
	// garbage collector does not come first.)
	for what, owners := range map[string][]metav1.OwnerReference{
		"no owner":      nil,
		"another owner": {{APIVersion: "v1", Kind: "Node", Name: "n2", UID: uid2}},
	} {
		have := s.nodeKey(t, name)
		have.OwnerReferences = owners
		if err := s.ours.Put().Resource(v1alpha1.ResourceNodeKeys).Name(name).Body(have).Do(t.Context()).Error(); err != nil {
			t.Fatal(err)
		}
		if err := n1.EnsureNodeKey(t.Context(), key, string(uid1)); err != nil {
			t.Fatal(err)
		}
		check(what)
	}

	// A NodeKey that bears the name of one key and says another.
	squatter := &v1alpha1.NodeKey{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeKeyName(testKey(11))},
		Spec:       v1alpha1.NodeKeySpec{PublicKey: testKey(12).String(), NodeName: "n1"},
	}
	if err := s.createKey(t.Context(), squatter); err != nil {
		t.Fatal(err)
	}
	wantError(t, "a name with another key", n1.EnsureNodeKey(t.Context(), testKey(11), string(uid1)), ErrKeyTaken)
}

func (s *server) testNodeGone(t *testing.T) {
	absent := s.agent(t, "n1", Options{NodeName: "absent"})
	uid := string(s.node(t, "n1").UID)
	wantError(t, "a Node that is not there", absent.PublishClaim(t.Context(), uid, testClaim(1)), ErrNodeGone)
	wantError(t, "the condition of a Node that is not there", absent.SetNetworkAvailable(t.Context()), ErrNodeGone)
	wantError(t, "another UID", s.agent(t, "n1", Options{}).PublishClaim(t.Context(), "another", testClaim(1)), ErrNodeGone)
	if _, err := s.admin.CoreV1().Nodes().Get(t.Context(), "absent", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("publishing made a Node: %v", err)
	}
}

func (s *server) testCondition(t *testing.T) {
	client := s.agent(t, "n1", Options{})
	f := follow(t, client)
	condition := func() (found corev1.NodeCondition) {
		for _, c := range s.node(t, "n1").Status.Conditions {
			if c.Type == corev1.NodeNetworkUnavailable {
				found = c
			}
		}
		return found
	}
	set := func() {
		t.Helper()
		if err := client.SetNetworkAvailable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	old := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	stamp := old.UTC().Format(time.RFC3339)
	s.patchStatus(t, "n1", `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"True","reason":"NoRoute","lastTransitionTime":"`+stamp+
		`"},{"type":"Ready","status":"True"}]}}`)
	f.await(t, "an unavailable network", func(s Snapshot) bool { return s.Own.NetworkUnavailable == "True" })
	set()
	f.await(t, "an available network", func(s Snapshot) bool { return s.Own.NetworkUnavailable == "False" })
	got := condition()
	if got.Reason != "WarrenIsUp" || got.Message == "" || !got.LastTransitionTime.After(old.Time) || got.LastHeartbeatTime.IsZero() {
		t.Errorf("the condition is %+v", got)
	}
	if n := s.node(t, "n1"); len(n.Status.Conditions) < 2 || len(n.Status.Addresses) != 2 {
		t.Errorf("other parts of the status are gone: %+v", n.Status)
	}
	before := s.node(t, "n1").ResourceVersion
	set()
	if after := s.node(t, "n1").ResourceVersion; after != before {
		t.Errorf("setting it again wrote the Node: %s, then %s", before, after)
	}
	s.patchStatus(t, "n1", `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"False","reason":"Other","lastTransitionTime":"`+stamp+`"}]}}`)
	set()
	if got := condition(); got.Reason != "WarrenIsUp" || !got.LastTransitionTime.Equal(&old) {
		t.Errorf("the status did not change, and the time of its change did: %+v", got)
	}
}

func (s *server) testEvents(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	written, err := s.admin.EventsV1().Events("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer written.Stop()
	next := func(wanted func(*eventsv1.Event) bool) *eventsv1.Event {
		t.Helper()
		for e := range written.ResultChan() {
			if event, ok := e.Object.(*eventsv1.Event); ok && event.ReportingController == reportingController && wanted(event) {
				return event
			}
		}
		t.Fatal("no such Event")
		return nil
	}
	recorder, err := s.agent(t, "n1", Options{}).NewRecorder(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n2 := find(follow(t, s.agent(t, "n1", Options{})).Snapshot(), "n2")
	recorder.Event(Warning, "Malformed", "100%s wrong \xff"+strings.Repeat("é", 2000), &n2)
	event := next(func(e *eventsv1.Event) bool { return e.Reason == "Malformed" })
	if event.Type != "Warning" || !strings.HasPrefix(event.Note, "100%s wrong \uFFFDé") || event.Regarding.Name != "n1" ||
		event.Related == nil || event.Related.Name != "n2" || string(event.Related.UID) != n2.UID {
		t.Errorf("the Event is %+v", event)
	}
	recorder.Event(Warning, "Malformed", "wrong in another way", &n2)
	if again := next(func(e *eventsv1.Event) bool { return e.Series != nil }); again.Name != event.Name || again.Series.Count != 2 {
		t.Errorf("the second Event of its kind is %+v", again)
	}
	recorder.Event(Normal, "Programmed", "the mesh is programmed", nil)
	if event := next(func(e *eventsv1.Event) bool { return e.Reason == "Programmed" }); event.Type != "Normal" || event.Related != nil {
		t.Errorf("the Event is %+v", event)
	}
	names := map[string]bool{}
	for _, parts := range [][]string{{"guard"}, {"route"}, {"guard", "route"}} {
		note := "put right: " + strings.Join(parts, ", ")
		recorder.Drift(note, parts)
		event := next(func(e *eventsv1.Event) bool { return e.Reason == "Drift" })
		if names[event.Name] || event.Type != "Warning" || event.Note != note || event.Series != nil {
			t.Errorf("the Event of drift of %s is %+v", parts, event)
		}
		names[event.Name] = true
	}
}

func (s *server) testForbidden(t *testing.T) {
	config := s.agentConfig(t, "n1")
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := newOurClient(config, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, core := t.Context(), client.CoreV1()
	key := v1alpha1.NodeKeyName(testKey(10))
	node := s.node(t, "n1")
	for what, do := range map[string]func() error{
		"delete its Node": func() error { return core.Nodes().Delete(ctx, "n1", metav1.DeleteOptions{}) },
		"delete a Node":   func() error { return core.Nodes().Delete(ctx, "n2", metav1.DeleteOptions{}) },
		"create a Node": func() error {
			_, err := core.Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n9"}}, metav1.CreateOptions{})
			return err
		},
		"update its Node":   func() error { _, err := core.Nodes().Update(ctx, node, metav1.UpdateOptions{}); return err },
		"update its status": func() error { _, err := core.Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); return err },
		"read Secrets":      func() error { _, err := core.Secrets("kube-system").List(ctx, metav1.ListOptions{}); return err },
		"read ConfigMaps":   func() error { _, err := core.ConfigMaps("kube-system").List(ctx, metav1.ListOptions{}); return err },
		"delete a Pod":      func() error { return core.Pods("default").Delete(ctx, "p", metav1.DeleteOptions{}) },
		"change a policy": func() error {
			return client.NetworkingV1().NetworkPolicies("default").Delete(ctx, "p", metav1.DeleteOptions{})
		},
		"make a token": func() error {
			_, err := core.ServiceAccounts("kube-system").CreateToken(ctx, "warren", nil, metav1.CreateOptions{})
			return err
		},
		"read Events": func() error {
			_, err := client.EventsV1().Events("default").List(ctx, metav1.ListOptions{})
			return err
		},
		"change a ServiceCIDR": func() error {
			return client.NetworkingV1().ServiceCIDRs().Delete(ctx, "kubernetes", metav1.DeleteOptions{})
		},
		"delete its NodeKey":  func() error { return keys.Delete().Resource(v1alpha1.ResourceNodeKeys).Name(key).Do(ctx).Error() },
		"delete all NodeKeys": func() error { return keys.Delete().Resource(v1alpha1.ResourceNodeKeys).Do(ctx).Error() },
		"read roles":          func() error { _, err := client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{}); return err },
	} {
		if err := do(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: error %v, want Forbidden", what, err)
		}
	}
}
