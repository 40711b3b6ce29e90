package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/e2e/lab"
)

// TestAdmission: agents and kubelets, with the credentials that they have, write what is theirs to write and nothing else.
func TestAdmission(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	// There are pod CIDRs for two nodes.
	l := lab.New(t, lab.Options{Nodes: 2, NoAgents: true, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/23")}})
	checkPolicies(ctx, t, l.Cluster().Admin())
	clients := admissionClients(ctx, t, l)
	node, err := l.Cluster().Admin().CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := func(key string) string { return "nodekeys/" + v1alpha1.NodeKeyName(testPublicKey(key)) }
	value := 0
	for _, a := range attempts(string(node.UID), path("1"), path("2")) {
		paths := []string{a.path}
		if base, both := strings.CutSuffix(a.path, "/*"); both {
			paths = []string{base, base + "/status"}
		}
		for _, path := range paths {
			value++
			one := a
			one.path, one.body = path, strings.ReplaceAll(a.body, "VALUE", strconv.Itoa(value))
			one.check(ctx, t, clients)
		}
	}
	other, err := l.Cluster().Admin().CoreV1().Nodes().Get(ctx, "n2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	poolsAdmission(ctx, t, clients, string(node.UID), string(other.UID))
}

// check makes the attempt, and looks at the object itself for what came of it. The object's own agent may write just then, as when it
// takes back the label of a changed claim: what was changed although nothing was to change is tried once more.
func (a attempt) check(ctx context.Context, t *testing.T, clients map[string]rest.Interface) {
	t.Helper()
	granted, changes := a.want == allowed || a.want == ignored, a.want == allowed
	changed, err := a.tried(ctx, t, clients)
	if changed && !changes && a.verb != "create" {
		changed, err = a.tried(ctx, t, clients)
	}
	said := fmt.Sprintf("%s: %s %s %.200s", a.who, a.verb, a.path, a.body)
	switch {
	case granted && err != nil:
		t.Errorf("%s: %v, want it allowed", said, err)
	case !granted && (err == nil || !strings.Contains(err.Error(), a.want)):
		t.Errorf("%s: error %.1000v, want %q", said, err, a.want)
	case a.verb != "create" && changed != changes:
		t.Errorf("%s: error %v, and changed is %t", said, err, changed)
	}
}

// tried makes the attempt, and says whether the object is another than before.
func (a attempt) tried(ctx context.Context, t *testing.T, clients map[string]rest.Interface) (changed bool, err error) {
	t.Helper()
	before := a.stored(ctx, t, clients[admin])
	err = a.do(ctx, clients[a.who], before)
	return before.GetResourceVersion() != a.stored(ctx, t, clients[admin]).GetResourceVersion(), err
}

// stored is the object that the attempt is about, if there is one.
func (a attempt) stored(ctx context.Context, t *testing.T, client rest.Interface) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if a.verb == "create" {
		return object
	}
	raw, err := client.Get().AbsPath(a.url()).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return object
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := object.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return object
}

// ourResources are those of our own types.
var ourResources = []string{
	v1alpha1.ResourceNodeKeys, v1alpha1.ResourceIPPools, v1alpha1.ResourceIPBlocks, v1alpha1.ResourceIPReservations,
}

func (a attempt) url() string {
	if resource, _, _ := strings.Cut(a.path, "/"); slices.Contains(ourResources, resource) {
		return "/apis/" + v1alpha1.GroupVersion.String() + "/" + a.path
	}
	return "/api/v1/" + a.path
}

// do asks the API server.
func (a attempt) do(ctx context.Context, client rest.Interface, stored *unstructured.Unstructured) error {
	request, err := a.request(client, stored)
	if err != nil {
		return err
	}
	return request.Do(ctx).Error()
}

// request is what it asks. To put is to put what is stored back, with the body merged into it.
func (a attempt) request(client rest.Interface, stored *unstructured.Unstructured) (*rest.Request, error) {
	var request *rest.Request
	body := []byte(a.body)
	switch a.verb {
	case "create":
		request = client.Post()
	case "delete":
		request = client.Delete()
	case "merge":
		request = client.Patch(types.MergePatchType)
	case "strategic":
		request = client.Patch(types.StrategicMergePatchType)
	case "apply":
		request = client.Patch(types.ApplyYAMLPatchType).Param("fieldManager", "admission-test").Param("force", "true")
	case "put":
		var change map[string]any
		if err := json.Unmarshal(body, &change); err != nil {
			return nil, err
		}
		merge(stored.Object, change)
		var err error
		if body, err = stored.MarshalJSON(); err != nil {
			return nil, err
		}
		request = client.Put()
	default:
		return nil, fmt.Errorf("verb %q is none", a.verb)
	}
	return request.AbsPath(a.url()).Body(body), nil
}

// merge changes an object as a JSON merge patch does.
func merge(object, change map[string]any) {
	for key, value := range change {
		part, isMap := object[key].(map[string]any)
		if more, ok := value.(map[string]any); ok && isMap {
			merge(part, more)
		} else if value == nil {
			delete(object, key)
		} else {
			object[key] = value
		}
	}
}

// checkPolicies waits for the API server's own check of the policies' expressions: none has a warning, and all are bound to
// deny.
func checkPolicies(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	var names []string
	eventually(ctx, t, 30*time.Second, func() error {
		policies, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		names = nil
		for _, p := range policies.Items {
			names = append(names, p.Name)
			switch {
			case p.Status.ObservedGeneration != p.Generation || p.Status.TypeChecking == nil:
				return fmt.Errorf("policy %s has not been checked", p.Name)
			case len(p.Status.TypeChecking.ExpressionWarnings) > 0:
				return fmt.Errorf("policy %s: %+v", p.Name, p.Status.TypeChecking.ExpressionWarnings)
			}
		}
		return nil
	})
	bindings, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var bound []string
	for _, b := range bindings.Items {
		if len(b.Spec.ValidationActions) == 1 && b.Spec.ValidationActions[0] == admissionv1.Deny && b.Spec.MatchResources == nil {
			bound = append(bound, b.Spec.PolicyName)
		}
	}
	want := []string{
		"warren-agent-ipblocks", "warren-agent-ipblocks-in-pools", "warren-agent-ippools", "warren-agent-nodekeys", "warren-agent-nodes",
		"warren-ippools", "warren-ippools-apart", "warren-ippools-in-use", "warren-kubelet-nodes",
	}
	if diff := cmp.Diff([][]string{want, want}, [][]string{names, bound}); diff != "" {
		t.Errorf("policies and what is bound (-want +got):\n%s", diff)
	}
}

// admissionClients are those who ask, each with the credential that it has in a cluster.
func admissionClients(ctx context.Context, t *testing.T, l *lab.Lab) map[string]rest.Interface {
	t.Helper()
	clients := map[string]rest.Interface{admin: l.Cluster().Admin().CoreV1().RESTClient()}
	use := func(who, file string, err error) *kubernetes.Clientset {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		config, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			t.Fatal(err)
		}
		config.Dial, config.QPS = l.Switch().Dial, -1
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		clients[who] = client.CoreV1().RESTClient()
		return client
	}
	for who, node := range map[string]string{agent1: "n1", agent2: "n2"} {
		file, err := l.Cluster().AgentKubeconfig(ctx, node)
		use(who, file, err)
	}
	file, err := l.Cluster().NodeKubeconfig("n3")
	use(kubelet3, file, err)
	file, err = l.Cluster().NodeKubeconfig("n1")
	kubelet := use(kubelet1, file, err)

	// As the kubelet gives it to the agent's Pod; and as whoever may make tokens could have it.
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "warren"}, Spec: corev1.PodSpec{
		NodeName: "n1", ServiceAccountName: "warren", Containers: []corev1.Container{{Name: "warrend", Image: "warrend"}},
	}}
	if pod, err = l.Cluster().Admin().CoreV1().Pods("kube-system").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	config := rest.AnonymousClientConfig(l.Cluster().AdminConfig())
	for who, by := range map[string]struct {
		client kubernetes.Interface
		bound  *authenticationv1.BoundObjectReference
	}{agentPod1: {kubelet, bound}, agentFree: {l.Cluster().Admin(), nil}} {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: by.bound}}
		eventually(ctx, t, 30*time.Second, func() error { // the authorizer has to hear of the Pod first
			answer, err := by.client.CoreV1().ServiceAccounts("kube-system").CreateToken(ctx, "warren", request, metav1.CreateOptions{})
			if err == nil {
				config.BearerToken = answer.Status.Token
			}
			return err
		})
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		clients[who] = client.CoreV1().RESTClient()
	}
	return clients
}
