package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// revokeCase is a change that forbids what policies allowed before.
type revokeCase struct {
	name, policies string
	change         func(ctx context.Context, s *scene) error
	forbidden      []string
	// after, where given, undoes what deleting the policies does not.
	after func(ctx context.Context, s *scene) error
}

// revokePairs are who talks to whom, on one node and over the mesh, in both directions of the pods that policies are about.
var revokePairs = []string{"b>a", "c>a", "d>a", "e>a", "a>b", "a>d"}

const (
	allowsC = `podSelector: {matchLabels: {app: a}}
ingress: [{from: [{podSelector: {matchLabels: {app: c}}}]}]`
	allowsAll = `podSelector: {matchLabels: {app: a}}
ingress: [{}]`
	allowsZ = `podSelector: {matchLabels: {app: a}}
ingress: [{from: [{namespaceSelector: {matchLabels: {team: z}}}, {podSelector: {}}]}]`
	allowsBlocks = `podSelector: {matchLabels: {app: a}}
ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16%s}}, {ipBlock: {cidr: "fd00:10:244::/48"%s}}]}]`
)

var revokeCases = []revokeCase{
	{"a policy is added", "", applying(np("x", "p", allowsC)), []string{"b>a", "d>a", "e>a"}, nil},
	{"a policy is changed", np("x", "p", allowsAll), applying(np("x", "p", allowsC)), []string{"b>a", "d>a", "e>a"}, nil},
	{"a peer's label is changed", np("x", "p", `podSelector: {matchLabels: {app: a}}
ingress: [{from: [{podSelector: {matchExpressions: [{key: was, operator: DoesNotExist}]}}, {namespaceSelector: {matchLabels: {team: z}}}]}]`),
		labelling("x", "b", "was", "b"), []string{"b>a"}, labelling("x", "b", "was", "")},
	{"a subject's label is changed", np("x", "p", `podSelector: {matchLabels: {locked: "yes"}}
policyTypes: [Ingress]`), labelling("x", "a", "locked", "yes"), []string{"b>a", "c>a", "d>a", "e>a"}, labelling("x", "a", "locked", "")},
	{"a namespace is relabelled", np("x", "p", allowsZ), relabelling("z", "y"), []string{"d>a", "e>a"}, relabelling("z", "z")},
	{"an ipBlock is given an exception", np("x", "p", fmt.Sprintf(allowsBlocks, "", "")), exceptB, []string{"b>a"}, nil},
	{"Admin denies on ingress", "", applying(cnp("deny", "Admin", 1, `ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: z}}}]}]`)),
		[]string{"d>a", "e>a"}, nil},
	{"Admin denies on egress, where the other way stays open", "",
		applying(cnp("deny", "Admin", 1, `egress: [{action: Deny, to: [{namespaces: {matchLabels: {team: z}}}]}]`)), []string{"a>d"}, nil},
	{"a peer is deleted, and another has its address", np("x", "p", `podSelector: {matchLabels: {app: a}}
ingress:
- from: [{podSelector: {}}, {namespaceSelector: {matchLabels: {team: z}}, podSelector: {matchExpressions: [{key: app, operator: In, values: [d, e]}]}}]`),
		replaceE, []string{"e>a"}, nil},
}

func applying(policies string) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error { return s.Cluster().Apply(ctx, []byte(policies)) }
}

// labelling gives a pod a label, or takes it away where the value is "".
func labelling(namespace, pod, label, value string) func(context.Context, *scene) error {
	text := "null"
	if value != "" {
		text = fmt.Sprintf("%q", value)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, label, text)
	return func(ctx context.Context, s *scene) error {
		_, err := s.Cluster().Admin().CoreV1().Pods(namespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	}
}

func relabelling(namespace, team string) func(context.Context, *scene) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"team":%q}}}`, team)
	return func(ctx context.Context, s *scene) error {
		_, err := s.Cluster().Admin().CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	}
}

func exceptB(ctx context.Context, s *scene) error {
	b := s.Node("n1").Pod("b")
	excepts := fmt.Sprintf(allowsBlocks, fmt.Sprintf(", except: [%s/32]", b.Address(true)), fmt.Sprintf(", except: [\"%s/128\"]", b.Address(false)))
	return s.Cluster().Apply(ctx, []byte(np("x", "p", excepts)))
}

// replaceE deletes the Pod e, and gives its addresses to another, which no policy knows.
func replaceE(ctx context.Context, s *scene) error {
	e := s.Node("n3").Pod("e")
	pods := s.Cluster().Admin().CoreV1().Pods("z")
	if err := pods.Delete(ctx, "e", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		return err
	}
	f, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "f", Labels: map[string]string{"app": "f"}},
		Spec:       corev1.PodSpec{NodeName: "n3", Containers: []corev1.Container{{Name: "one", Image: "none"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	f.Status.Phase, f.Status.PodIP = corev1.PodRunning, e.Addresses[0].String()
	for _, a := range e.Addresses {
		f.Status.PodIPs = append(f.Status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	_, err = pods.UpdateStatus(ctx, f, metav1.UpdateOptions{})
	return err
}

// TestPolicyRevokes: established flows that a change forbids carry their last packet within a second of the API's answer, by TCP, UDP and, where the
// kernel has its sockets, SCTP, over IPv4 and IPv6, on the same node and over the mesh, whoever of the ends sends; the others lose nothing.
func TestPolicyRevokes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pace.Scale(6*time.Minute))
	defer cancel()
	s := policyScene(ctx, t)
	for _, c := range revokeCases {
		t.Run(c.name, func(t *testing.T) { s.revokes(ctx, t, c) })
	}
	metrics := scrape(ctx, t, s.Node("n1"))
	for _, want := range []string{"warren_policy_flows_revoked_total", "warren_policy_flows_restored_total", "warren_policy_flows_listing_seconds_count",
		"warren_policy_revocation_seconds_count"} {
		if strings.Contains(metrics, want+" 0\n") || !strings.Contains(metrics, want) {
			t.Errorf("metric %s: it is 0, or not there", want)
		}
	}
	if !strings.Contains(metrics, "warren_policy_revocation_failures_total 0\n") {
		t.Error("revoking failed at times")
	}
}

// revokes has everybody talk, and changes something.
func (s *scene) revokes(ctx context.Context, t *testing.T, c revokeCase) {
	t.Helper()
	if err := s.Cluster().Apply(ctx, []byte(c.policies)); err != nil {
		t.Fatal(err)
	}
	s.reach(ctx, t)
	all := s.openAll(ctx, t, revokePairs)
	if t.Failed() {
		return
	}
	pause(ctx, 300*time.Millisecond)
	if err := c.change(ctx, s); err != nil {
		t.Fatal(err)
	}
	latest := all.cut(ctx, t, time.Now(), c.forbidden)
	t.Logf("the last word of a forbidden flow was heard %s after the API had answered", latest.Round(time.Millisecond))
	s.deletePolicies(ctx, t)
	if c.after != nil {
		if err := c.after(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPolicyGivesBack: a UDP flow that was cut goes on once policy allows it again.
func TestPolicyGivesBack(t *testing.T) {
	ctx := testContext(t)
	s := policyScene(ctx, t)
	all := s.openAll(ctx, t, []string{"b>a", "d>a"})
	if t.Failed() {
		return
	}
	if err := applying(np("x", "p", allowsC))(ctx, s); err != nil {
		t.Fatal(err)
	}
	pause(ctx, pace.Scale(2*time.Second))
	before := map[*talk][2]heardState{}
	all.each(func(_ string, k *talk) { before[k] = k.states() })
	pause(ctx, 500*time.Millisecond)
	all.each(func(_ string, k *talk) {
		if k.going(before[k]) {
			t.Errorf("%s: it goes on", k.name)
		}
	})
	s.deletePolicies(ctx, t)
	eventually(ctx, t, 5*time.Second, func() error {
		var errs []error
		all.each(func(_ string, k *talk) {
			if _, udp := k.server.conn.(*answering); udp && !k.going(before[k]) {
				errs = append(errs, fmt.Errorf("%s: it does not go on", k.name))
			}
		})
		return errors.Join(errs...)
	})
	all.each(func(_ string, k *talk) { k.hush(); k.close() })
}
