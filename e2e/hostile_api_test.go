package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// notTheirNode is what NodeRestriction says to a kubelet about another's Node.
const notTheirNode = "is not allowed to modify node"

// as is a client with a kubeconfig's credential.
func (h *hostile) as(t *testing.T, file string, err error, change func(*rest.Config)) *kubernetes.Clientset {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	config.Dial, config.QPS = h.Switch().Dial, -1
	change(config)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// keyOf is the public key that a node has published.
func (h *hostile) keyOf(ctx context.Context, t *testing.T, node string) identity.PublicKey {
	t.Helper()
	key, err := identity.ParsePublicKey(h.claim(ctx, t, node)[mesh.AnnotationPublicKey])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// nodeKeysOfOthers are n1's attempts at the victim's NodeKey, by which everybody knows whose key it is.
func (h *hostile) nodeKeysOfOthers(ctx context.Context, t *testing.T) {
	t.Helper()
	key, n1 := h.keyOf(ctx, t, "n2"), h.node(ctx, t, "n1")
	name := v1alpha1.NodeKeyName(key)
	path := "nodekeys/" + name
	owner := fmt.Sprintf(`"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n1","uid":%q}]`, n1.UID)
	nodeKey := func(name string, key identity.PublicKey, node string) string {
		return fmt.Sprintf(`{"apiVersion":"warren.dev/v1alpha1","kind":"NodeKey","metadata":{"name":%q,%s},"spec":{"nodeName":%q,"publicKey":%q}}`,
			name, owner, node, key)
	}
	for _, who := range []string{agent1, agentPod1, kubelet1} {
		want := func(agents string) string {
			if who == kubelet1 {
				return forbidden
			}
			return agents
		}
		for _, a := range []attempt{
			{who, "create", "nodekeys", nodeKey(name, key, "n1"), want("already exists")},
			{who, "create", "nodekeys", nodeKey(name, key, "n2"), want(notItsKey)},
			{who, "put", path, `{"metadata":{` + owner + `}}`, want(notItsKey)},
			{who, "put", path, `{"spec":{"nodeName":"n1"}}`, want("cannot be changed")},
			{who, "put", path, `{"spec":{"publicKey":"` + testPublicKey("mine").String() + `"}}`, want("cannot be changed")},
			{who, "put", path, `{"metadata":{"finalizers":["example.dev/a"]}}`, want(notItsKey)},
			{who, "merge", path, `{"spec":{"nodeName":"n1"}}`, forbidden},
			{who, "apply", path, nodeKey(name, key, "n1"), forbidden},
			{who, "delete", path, "", forbidden},
			{who, "delete", "nodekeys", "", forbidden}, // all of them
		} {
			a.check(ctx, t, h.clients)
		}
	}
	// Under another name it says what nobody believes.
	other := v1alpha1.NodeKeyName(testPublicKey("no key of anybody"))
	attempt{agent1, "create", "nodekeys", nodeKey(other, key, "n1"), allowed}.check(ctx, t, h.clients)
	stolen := h.stolen("n2", key)
	attempt{agent1, "merge", "nodes/n1", h.annotations(stolen), allowed}.check(ctx, t, h.clients)
	h.judged(ctx, t, stolen)
	attempt{agent1, "merge", "nodes/n1", h.annotations(hostileClaim{}), allowed}.check(ctx, t, h.clients)
	h.believed(ctx, t)
}

// tokensOfOthers are n1's attempts at another's identity, or at more than its own.
func (h *hostile) tokensOfOthers(ctx context.Context, t *testing.T) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "warren-2"}, Spec: corev1.PodSpec{
		NodeName: "n2", ServiceAccountName: "warren", Containers: []corev1.Container{{Name: "warrend", Image: "warrend"}},
	}}
	pod, err := h.Cluster().Admin().CoreV1().Pods("kube-system").Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubelet, agent := kubernetes.New(h.clients[kubelet1]), kubernetes.New(h.clients[agent1])
	bound := func(kind, name string, uid types.UID) *authenticationv1.BoundObjectReference {
		return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: kind, Name: name, UID: uid}
	}
	for who, client := range map[string]kubernetes.Interface{kubelet1: kubelet, agent1: agent} {
		for what, to := range map[string]*authenticationv1.BoundObjectReference{
			"of no node":               nil,
			"of the victim's Node":     bound("Node", "n2", h.node(ctx, t, "n2").UID),
			"of the agent of n2's Pod": bound("Pod", pod.Name, pod.UID),
		} {
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: to}}
			_, err := client.CoreV1().ServiceAccounts("kube-system").CreateToken(ctx, "warren", request, metav1.CreateOptions{})
			h.forbidden(t, who+" asks for a token "+what, err)
		}
	}
	for _, user := range []string{"system:node:n2", "system:serviceaccount:kube-system:warren"} {
		file, err := h.Cluster().NodeKubeconfig("n1")
		posing := h.as(t, file, err, func(c *rest.Config) { c.Impersonate.UserName = user })
		_, err = posing.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
		h.forbidden(t, kubelet1+" poses as "+user, err)
	}
	_, err = agent.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{})
	h.forbidden(t, agent1+" reads Secrets", err)
	// It reads Pods and policies, all of them, and writes none.
	patch := []byte(`{"metadata":{"labels":{"app":"trusted"}}}`)
	for _, part := range []string{"", "status"} {
		_, err = agent.CoreV1().Pods("kube-system").Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, part)
		h.forbidden(t, agent1+" labels a Pod "+part, err)
	}
	_, err = agent.CoreV1().Namespaces().Patch(ctx, "kube-system", types.MergePatchType, patch, metav1.PatchOptions{})
	h.forbidden(t, agent1+" labels a Namespace", err)
	policies := agent.NetworkingV1().NetworkPolicies("default")
	_, err = policies.Create(ctx, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "open"}}, metav1.CreateOptions{})
	h.forbidden(t, agent1+" makes a NetworkPolicy", err)
	h.forbidden(t, agent1+" deletes NetworkPolicies", policies.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
	h.forbidden(t, agent1+" deletes a Pod", agent.CoreV1().Pods("kube-system").Delete(ctx, pod.Name, metav1.DeleteOptions{}))
	_, err = agent.CoreV1().Pods("kube-system").Create(ctx, pod, metav1.CreateOptions{})
	h.forbidden(t, agent1+" makes a Pod", err)
	h.forbidden(t, agent1+" deletes Events", agent.EventsV1().Events("default").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
}

func (h *hostile) forbidden(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("%s: %v, want it forbidden", what, err)
	}
}

// noText has n1's kubelet write bytes that are not UTF-8 as they are: protobuf lets them through. Agents that start afresh read them
// as well as those that run.
func (h *hostile) noText(ctx context.Context, t *testing.T) {
	t.Helper()
	file, err := h.Cluster().NodeKubeconfig("n1")
	nodes := h.as(t, file, err, func(c *rest.Config) { c.ContentType = "application/vnd.kubernetes.protobuf" }).CoreV1().Nodes()
	const bytes = "\xff\xfe\x00"
	change := func(f func(*corev1.Node), write func(context.Context, *corev1.Node, metav1.UpdateOptions) (*corev1.Node, error)) error {
		node := h.node(ctx, t, "n1")
		f(node)
		_, err := write(ctx, node, metav1.UpdateOptions{})
		return err
	}
	for _, write := range []func(context.Context, *corev1.Node, metav1.UpdateOptions) (*corev1.Node, error){nodes.Update, nodes.UpdateStatus} {
		for _, name := range []string{mesh.AnnotationVersion, mesh.AnnotationPublicKey, mesh.AnnotationPrefix + "new"} {
			err := change(func(n *corev1.Node) { n.Annotations[name] = bytes }, write)
			if err == nil || !strings.Contains(err.Error(), kubeletNotOurs) {
				t.Errorf("%s by protobuf: %v, want %q", name, err, kubeletNotOurs)
			}
		}
		if err := change(func(n *corev1.Node) { n.Annotations["example.dev/"+bytes] = "1" }, write); err == nil {
			t.Error("a name that is no text was taken")
		}
		if err := change(func(n *corev1.Node) { n.Annotations["example.dev/raw"] += bytes }, write); err != nil {
			t.Errorf("the kubelet's own annotation: %v", err)
		}
	}
	version := h.node(ctx, t, "n1").Status.NodeInfo.KernelVersion
	if err := change(func(n *corev1.Node) { n.Status.NodeInfo.KernelVersion = bytes }, nodes.UpdateStatus); err != nil {
		t.Errorf("the kubelet's own status: %v", err)
	}
	for _, name := range refusers {
		n := h.Node(name)
		if err := n.StopAgent(ctx); err != nil {
			t.Fatal(err)
		}
		h.startAgent(ctx, t, n)
	}
	h.believed(ctx, t)
	// A status that is no text keeps the agent of that node itself, which writes JSON, from changing anything through it.
	err = errors.Join(
		change(func(n *corev1.Node) { delete(n.Annotations, "example.dev/raw") }, nodes.Update),
		change(func(n *corev1.Node) { n.Status.NodeInfo.KernelVersion = version }, nodes.UpdateStatus),
	)
	if err != nil {
		t.Error(err)
	}
}

// nodeAnew has n1's Node made anew by its kubelet, which would like to say which pod CIDR it has. Nor can the kubelet delete it: an
// administrator does, or a cloud's controller to which the machine looked gone.
func (h *hostile) nodeAnew(ctx context.Context, t *testing.T) {
	t.Helper()
	victims, n1 := prefixTexts(h.Node("n2").PodCIDRs), h.Node("n1")
	victim, both := victims[0], fmt.Sprintf(`"podCIDR":%q,"podCIDRs":[%q,%q]`, victims[0], victims[0], victims[1])
	uid := h.node(ctx, t, "n1").UID
	for _, a := range []attempt{
		{kubelet1, "delete", "nodes/n1", "", forbidden},
		{agent1, "delete", "nodes/n1", "", forbidden},
		{kubelet1, "delete", "nodes/n2", "", forbidden},
		{kubelet1, "delete", "nodes", "", forbidden},
		{agent1, "create", "nodes", `{"metadata":{"name":"n1"}}`, forbidden},
		{admin, "delete", "nodes/n1", "", allowed},
	} {
		a.check(ctx, t, h.clients)
	}
	h.gone(ctx, t)
	preset := func(spec string) string { return `{"metadata":{"name":"n1"},"spec":{` + spec + `}}` }
	for _, a := range []attempt{
		{kubelet1, "create", "nodes", preset(fmt.Sprintf(`"podCIDR":%q`, victim)), kubeletNotCIDRs},
		{kubelet1, "create", "nodes", preset(fmt.Sprintf(`"podCIDR":%q,"podCIDRs":[%q]`, victim, victim)), kubeletNotCIDRs},
		{kubelet1, "create", "nodes", preset(both), kubeletNotCIDRs},
		{kubelet1, "create", "nodes", preset(fmt.Sprintf(`"podCIDR":%q,"podCIDRs":[%q]`, victims[1], victims[1])), kubeletNotCIDRs},
		{kubelet1, "create", "nodes", preset(`"podCIDR":"10.244.0.0/16","podCIDRs":["10.244.0.0/16"]`), kubeletNotCIDRs},
		{kubelet1, "create", "nodes", preset(`"podCIDR":"0.0.0.0/0","podCIDRs":["0.0.0.0/0","::/0"]`), kubeletNotCIDRs},
		{kubelet1, "create", "nodes", `{"metadata":{"name":"n1","annotations":{"warren.dev/public-key":"` + h.honest[mesh.AnnotationPublicKey] + `"}}}`, kubeletNotOurs},
		{kubelet1, "create", "nodes", `{"metadata":{"name":"n9"}}`, "is not allowed to modify node"},
	} {
		a.check(ctx, t, h.clients)
	}
	if err := h.CreateNodeObject(ctx, n1); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"", "/status"} { // before the controller-manager gives it one, or after
		body := preset(both)
		err := attempt{who: kubelet1, verb: "merge", path: "nodes/n1" + part, body: body}.do(ctx, h.clients[kubelet1], nil)
		if part != "" {
			if err != nil {
				t.Errorf("a pod CIDR through nodes/n1%s, where nothing of it counts: %v", part, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), kubeletNotCIDRs) && !strings.Contains(err.Error(), "may not change podCIDR") {
			t.Errorf("a pod CIDR through nodes/n1%s: %v", part, err)
		}
	}
	eventually(ctx, t, 20*time.Second, func() error {
		if cidrs := h.node(ctx, t, "n1").Spec.PodCIDRs; len(cidrs) != 2 || cidrs[0] == victims[0] || cidrs[1] == victims[1] {
			return fmt.Errorf("n1 has the pod CIDRs %q", cidrs)
		}
		return nil
	})
	h.startAgent(ctx, t, n1)
	eventually(ctx, t, 10*time.Second, func() error {
		if h.claim(ctx, t, "n1")[mesh.AnnotationPodCIDRs] == "" {
			return fmt.Errorf("n1's agent has not published")
		}
		return nil
	})
	if err := n1.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	h.honest = h.claim(ctx, t, "n1")
	file, err := h.Cluster().AgentKubeconfig(ctx, "n1")
	h.clients[agent1] = h.as(t, file, err, func(*rest.Config) {}).CoreV1().RESTClient()
	h.learn(ctx, t)
	now, other := h.node(ctx, t, "n1"), h.node(ctx, t, "n2")
	if now.UID == uid || !other.CreationTimestamp.Before(&now.CreationTimestamp) {
		t.Errorf("n1 (UID %s, was %s) of %s is not younger than n2 of %s", now.UID, uid, now.CreationTimestamp, other.CreationTimestamp)
	}
}

// gone waits until no refuser holds anything of n1.
func (h *hostile) gone(ctx context.Context, t *testing.T) {
	t.Helper()
	h.judged(ctx, t, hostileClaim{name: "no Node", leftOut: true})
}
