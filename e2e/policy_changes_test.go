package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// policyStep is something that changes, and who is kept from whom then.
type policyStep struct {
	name   string
	do     func()
	denied []string
	among  []string
}

func (s *scene) takeSteps(ctx context.Context, t *testing.T, steps []policyStep) {
	t.Helper()
	for _, step := range steps {
		step.do()
		t.Log(step.name)
		s.reachAmong(ctx, t, step.among, step.denied)
	}
	s.deletePolicies(ctx, t)
}

// relabel sets labels, or takes those away that are nil.
func (s *scene) relabel(ctx context.Context, t *testing.T, namespace, pod string, labels map[string]any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		t.Fatal(err)
	}
	core := s.Cluster().Admin().CoreV1()
	if pod == "" {
		_, err = core.Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	} else {
		_, err = core.Pods(namespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// policyChanges: labels of pods, as peers and as subjects, labels of namespaces, and what a policy says.
func (s *scene) policyChanges(ctx context.Context, t *testing.T) {
	relabel := func(namespace, pod string, labels map[string]any) func() {
		return func() { s.relabel(ctx, t, namespace, pod, labels) }
	}
	client := onA("ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {client: \"yes\"}}}]}]")
	s.takeSteps(ctx, t, []policyStep{
		{name: "nobody has the label", do: func() { s.apply(ctx, t, client) }, denied: []string{"*>a"}},
		{name: "a pod of another node gets it", do: relabel("z", "d", map[string]any{"client": "yes"}), denied: []string{"b,c,e>a"}},
		{name: "one of the same node, too", do: relabel("x", "b", map[string]any{"client": "yes"}), denied: []string{"c,e>a"}},
		{name: "the first has another value", do: relabel("z", "d", map[string]any{"client": "no"}), denied: []string{"c,d,e>a"}},
		{name: "and both none", do: func() {
			s.relabel(ctx, t, "z", "d", map[string]any{"client": nil})
			s.relabel(ctx, t, "x", "b", map[string]any{"client": nil})
		}, denied: []string{"*>a"}},
		{name: "the policy says something else", do: func() {
			s.apply(ctx, t, onA("ingress: [{from: [{podSelector: {}}], ports: [{protocol: UDP, port: 7}]}]"))
		}, denied: []string{"*>a/tcp,tcp8,sctp,icmp", "d,e>a"}},
		{name: "and is of egress", do: func() { s.apply(ctx, t, onA("ingress: []\npolicyTypes: [Egress]")) }, denied: []string{"a>*"}},
		{name: "it goes", do: func() { s.deletePolicies(ctx, t) }},
	})
	s.takeSteps(ctx, t, []policyStep{
		{name: "no pod is a subject", do: func() { s.apply(ctx, t, np("z", "p", "podSelector: {matchLabels: {locked: \"yes\"}}")) }},
		{name: "one becomes one", do: relabel("z", "e", map[string]any{"locked": "yes"}), denied: []string{"*>e"}},
		{name: "another, too", do: relabel("z", "d", map[string]any{"locked": "yes"}), denied: []string{"*>d,e"}},
		{name: "and none", do: func() {
			s.relabel(ctx, t, "z", "d", map[string]any{"locked": nil})
			s.relabel(ctx, t, "z", "e", map[string]any{"locked": nil})
		}},
	})
	s.takeSteps(ctx, t, []policyStep{
		{name: "by the labels of namespaces", do: func() {
			s.apply(ctx, t, onA("ingress: [{from: [{namespaceSelector: {matchLabels: {team: z}}}]}]")+
				cnp("deny", "Admin", 1, "egress: [{action: Deny, to: [{namespaces: {matchLabels: {quarantined: \"yes\"}}}]}]"))
		}, denied: []string{"b,c>a"}},
		{name: "a peer's is another", do: relabel("z", "", map[string]any{"team": "y"}), denied: []string{"*>a"}},
		{name: "and that of before", do: relabel("z", "", map[string]any{"team": "z"}), denied: []string{"b,c>a"}},
		{name: "one gets the label that is denied", do: relabel("z", "", map[string]any{"quarantined": "yes"}), denied: []string{"b,c>a", "a,b,c>d,e"}},
		{name: "the subject's is another", do: relabel("x", "", map[string]any{"team": "y"}), denied: []string{"b,c>a"}},
		{name: "all as before", do: func() {
			s.relabel(ctx, t, "x", "", map[string]any{"team": "x"})
			s.relabel(ctx, t, "z", "", map[string]any{"quarantined": nil})
		}, denied: []string{"b,c>a"}},
	})
}

// policyLives: pods that come after the policy, that terminate, end and go, and whose addresses are others'.
func (s *scene) policyLives(ctx context.Context, t *testing.T) {
	pods := s.Cluster().Admin().CoreV1().Pods("z")
	end := func(name string, phase corev1.PodPhase) {
		patch := fmt.Sprintf(`{"status":{"phase":%q}}`, phase)
		if _, err := pods.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	// ghost is a Pod that says that it has, or had, another pod's addresses.
	ghost := func(of *lab.Pod) {
		object := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "ghost", Labels: map[string]string{"app": "ghost"}},
			Spec:       corev1.PodSpec{NodeName: "n3", Containers: []corev1.Container{{Name: "one", Image: "none"}}},
		}
		object, err := pods.Create(ctx, object, metav1.CreateOptions{})
		if err == nil {
			object.Status.Phase, object.Status.PodIP = corev1.PodRunning, of.Addresses[0].String()
			for _, a := range of.Addresses {
				object.Status.PodIPs = append(object.Status.PodIPs, corev1.PodIP{IP: a.String()})
			}
			_, err = pods.UpdateStatus(ctx, object, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var late, later *lab.Pod
	s.takeSteps(ctx, t, []policyStep{
		{name: "policies before the pods", do: func() {
			s.apply(ctx, t, onA("ingress: [{from: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: In, values: [late, later]}]}}]}]")+
				np("z", "late", "podSelector: {matchExpressions: [{key: app, operator: In, values: [late, later]}]}\ningress: [{from: [{podSelector: {}}]}]"))
			late = s.addPolicyPod(ctx, t, "n3", "z", "late")
			later = s.addPolicyPod(ctx, t, "n1", "z", "later")
		}, denied: []string{"b,c,d,e>a", "a,b,c>late,later"}},
		{name: "one terminates: it stays enforced, and a peer", do: func() {
			grace := int64(600)
			if err := pods.Delete(ctx, "late", metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
				t.Fatal(err)
			}
			if object, err := pods.Get(ctx, "late", metav1.GetOptions{}); err != nil || object.DeletionTimestamp == nil {
				t.Fatalf("it does not terminate: %v, %v", object.DeletionTimestamp, err)
			}
		}, denied: []string{"b,c,d,e>a", "a,b,c>late,later"}},
		{name: "its labels still count", do: func() { s.relabel(ctx, t, "z", "late", map[string]any{"app": "none"}) }, denied: []string{"b,c,d,e,late>a", "a,b,c>later"}},
		{name: "and again", do: func() { s.relabel(ctx, t, "z", "late", map[string]any{"app": "late"}) }, denied: []string{"b,c,d,e>a", "a,b,c>late,later"}},
		{name: "it has succeeded, and is nobody", do: func() { end("late", corev1.PodSucceeded) }, denied: []string{"b,c,d,e,late>a"}, among: []string{"b,c,d,e,late,later>a"}},
		{name: "the other has failed", do: func() { end("later", corev1.PodFailed) }, denied: []string{"b,c,d,e,late,later>a"}, among: []string{"b,c,d,e,late,later>a"}},
	})
	for _, p := range []*lab.Pod{late, later} {
		if err := p.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	s.takeSteps(ctx, t, []policyStep{
		{name: "an address of two pods is either's", do: func() {
			s.apply(ctx, t, onA("ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: ghost}}}]}]"))
			ghost(s.podOf("c"))
		}, denied: []string{"b,d,e>a"}},
		{name: "the one has ended, and it is the other's", do: func() { end("ghost", corev1.PodFailed) }, denied: []string{"*>a"}},
		{name: "and by the other's labels", do: func() { s.apply(ctx, t, onA("ingress: [{from: [{podSelector: {matchLabels: {app: c}}}]}]")) }, denied: []string{"b,d,e>a"}},
	})
	if err := pods.Delete(ctx, "ghost", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
}

// policyFirstInstant: a pod is isolated from the instant at which it has an interface. It sends, and is sent to, before it has one, and all
// through ADD. What arrives is counted.
func (s *scene) policyFirstInstant(ctx context.Context, t *testing.T) {
	for _, c := range []struct {
		name, policies string
		passes         bool
	}{
		{"isolated", np("z", "deny", "podSelector: {matchLabels: {app: first}}\npolicyTypes: [Ingress, Egress]"), false},
		{"not isolated", "", true},
	} {
		s.apply(ctx, t, c.policies)
		if c.policies != "" { // known to all before the pod is
			s.apply(ctx, t, np("x", "seen", "podSelector: {matchLabels: {app: b}}\npolicyTypes: [Ingress]"))
			s.reach(ctx, t, "*>b")
		}
		sent, received := s.sendFromTheStart(ctx, t)
		t.Logf("%s: %d of the pod's datagrams arrived, and %d of those to it", c.name, sent, received)
		if (sent > 0) != c.passes || (received > 0) != c.passes {
			t.Errorf("%s: they should pass: %v", c.name, c.passes)
		}
		s.deletePolicies(ctx, t)
		s.reach(ctx, t)
	}
}

// sendFromTheStart adds a pod on n1 that sends to b and c, and that b and c send to, and says how many datagrams arrived of each.
func (s *scene) sendFromTheStart(ctx context.Context, t *testing.T) (sent, received int) {
	t.Helper()
	const port = 4000 // of the others; the pod's is the next
	others := []*lab.Pod{s.podOf("b"), s.podOf("c")}
	fromPod, toPod := newTally(), newTally()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var targets []netip.Addr // of the new pod: any that it may get
	for i := range 24 {
		for _, p := range s.Node("n1").PodCIDRs {
			raw := p.Addr().AsSlice()
			raw[len(raw)-1] += byte(i + 2)
			if a, _ := netip.AddrFromSlice(raw); !slices.ContainsFunc(others, func(p *lab.Pod) bool { return slices.Contains(p.Addresses, a) }) {
				targets = append(targets, a)
			}
		}
	}
	for _, p := range others {
		fromPod.listen(ctx, t, &p.Host, port)
	}
	options := policyPod("z", "first")
	options.Before = func(p *lab.Pod) error {
		toPod.listen(ctx, t, &p.Host, port+1)
		for _, other := range others {
			if err := sendAll(ctx, &other.Host, targets, port+1); err != nil {
				return err
			}
		}
		return sendAll(ctx, &p.Host, append(others[0].Addresses, others[1].Addresses...), port)
	}
	pod, err := s.Node("n1").AddPodLike(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(pace.Scale(300 * time.Millisecond)):
	}
	stop()
	if err := pod.Remove(); err != nil {
		t.Fatal(err)
	}
	return fromPod.count(), toPod.count()
}
