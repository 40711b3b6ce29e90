package cluster

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
)

func addresses(words ...string) (parsed []netip.Addr) {
	for _, word := range words {
		parsed = append(parsed, netip.MustParseAddr(word))
	}
	return parsed
}

func prefixes(words ...string) (parsed []netip.Prefix) {
	for _, word := range words {
		parsed = append(parsed, netip.MustParsePrefix(word))
	}
	return parsed
}

// dual is a dual-stack control plane in a network namespace of its own.
func dual(t *testing.T) (Options, *namespace) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	programs, err := assets.Find()
	if err != nil {
		t.Fatal(err)
	}
	n := newNamespace(t, "172.30.0.1/32", "fd30::1/128")
	return Options{
		Assets: programs, Dir: t.TempDir(),
		Addresses: addresses("172.30.0.1", "fd30::1"),
		PodCIDRs:  prefixes("10.244.0.0/16", "fd44::/48"), ServiceCIDRs: prefixes("10.96.0.0/16", "fd96::/108"),
		Start: n.start, HTTPDial: n.dial,
	}, n
}

func start(t *testing.T, o Options) *Cluster {
	t.Helper()
	begin := time.Now()
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(begin).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// clientOf uses a credential as its owner would, but for where it dials.
func clientOf(t *testing.T, c *Cluster, kubeconfig string) kubernetes.Interface {
	t.Helper()
	info, err := os.Stat(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v, want 0600", kubeconfig, info.Mode().Perm())
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return clientFor(t, c, config)
}

func clientFor(t *testing.T, c *Cluster, config *rest.Config) kubernetes.Interface {
	t.Helper()
	config.Dial = c.options.HTTPDial
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// register makes a Node as its kubelet would and returns it once it has pod CIDRs.
func register(t *testing.T, c *Cluster, name string) (*corev1.Node, kubernetes.Interface) {
	t.Helper()
	file, err := c.NodeKubeconfig(name)
	if err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, c, file)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if node, err = client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watcher, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + name, ResourceVersion: node.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		node, ok := event.Object.(*corev1.Node)
		if ok && event.Type == watch.Modified && len(node.Spec.PodCIDRs) > 0 {
			return node, client
		}
	}
	t.Fatalf("Node %s was given no pod CIDRs", name)
	return nil, nil
}

const manifests = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: warren, namespace: kube-system}
---
# of no use here
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
---
apiVersion: example.dev/v1
kind: Burrow
metadata: {name: first}
spec: {depth: 3}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: burrows.example.dev}
spec:
  group: example.dev
  scope: Cluster
  names: {kind: Burrow, plural: burrows, singular: burrow}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {depth: {type: integer}}}}}}
`

// One cluster, as starting it is what takes the time. The order matters: the API server goes and comes back last.
func TestCluster(t *testing.T) {
	o, _ := dual(t)
	c := start(t, o)
	ctx := t.Context()

	n1, client1 := register(t, c, "n1")
	if diff := cmp.Diff([]string{"10.244.0.0/24", "fd44::/64"}, n1.Spec.PodCIDRs); diff != "" {
		t.Errorf("pod CIDRs of n1 (-want +got):\n%s", diff)
	}
	n2, _ := register(t, c, "n2")
	if diff := cmp.Diff([]string{"10.244.1.0/24", "fd44:0:0:1::/64"}, n2.Spec.PodCIDRs); diff != "" {
		t.Errorf("pod CIDRs of n2 (-want +got):\n%s", diff)
	}

	t.Run("a node changes itself only", func(t *testing.T) {
		patch := []byte(`{"metadata":{"annotations":{"example.dev/a":"b"}}}`)
		if _, err := client1.CoreV1().Nodes().Patch(ctx, "n1", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Errorf("its own Node: %v", err)
		}
		_, err := client1.CoreV1().Nodes().Patch(ctx, "n2", types.MergePatchType, patch, metav1.PatchOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("another's Node: got %v, want forbidden", err)
		}
		if _, err := client1.CoreV1().ConfigMaps("kube-system").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("all ConfigMaps: got %v, want forbidden", err)
		}
	})

	t.Run("nobody without a credential", func(t *testing.T) {
		client := clientFor(t, c, rest.AnonymousClientConfig(c.AdminConfig()))
		if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("got %v, want forbidden", err)
		}
	})

	t.Run("manifests", func(t *testing.T) {
		for range 2 {
			if err := c.Apply(ctx, []byte(manifests)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := c.Admin().CoreV1().RESTClient().Get().AbsPath("/apis/example.dev/v1/burrows/first").DoRaw(ctx)
		if err != nil || !strings.Contains(string(got), `"depth":3`) {
			t.Errorf("got %s, %v", got, err)
		}
	})

	t.Run("an agent's token", func(t *testing.T) { testToken(t, c) })

	t.Run("a folder of manifests", func(t *testing.T) {
		if err := c.ApplyFiles(ctx, "../../../manifests/base"); err != nil {
			t.Error(err)
		}
		if err := c.ApplyFiles(ctx, t.TempDir()); err == nil {
			t.Error("an empty folder was taken")
		}
	})

	t.Run("what users apply", func(t *testing.T) {
		testManifests(t, c)
		t.Run("monitoring", func(t *testing.T) { testMonitoring(t, c) })
	})

	t.Run("the API server goes and comes back", func(t *testing.T) {
		if err := c.StopAPIServer(); err != nil {
			t.Fatal(err)
		}
		if _, err := client1.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{}); err == nil {
			t.Fatal("it still answers")
		}
		if err := c.StartAPIServer(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := client1.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got.UID != n1.UID {
			t.Errorf("Node n1 is another: UID %s, was %s", got.UID, n1.UID)
		}
		register(t, c, "n3") // the controllers found it again
	})
}

// testToken sees that a bound token says on whose Node it is, has no rights of its own, and is void without its Node.
func testToken(t *testing.T, c *Cluster) {
	ctx := t.Context()
	if _, err := c.AgentKubeconfig(ctx, "nowhere"); !apierrors.IsNotFound(err) {
		t.Errorf("a token for a Node that is not there: got %v, want not found", err)
	}
	if _, err := c.AgentKubeconfig(ctx, "../n1"); err == nil {
		t.Error("a token for ../n1 was given")
	}
	register(t, c, "leaving")
	file, err := c.AgentKubeconfig(ctx, "leaving")
	if err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, c, file)
	self, err := whoAmI(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	if self.Username != "system:serviceaccount:kube-system:warren" {
		t.Errorf("user is %s", self.Username)
	}
	if got := self.Extra["authentication.kubernetes.io/node-name"]; len(got) != 1 || got[0] != "leaving" {
		t.Errorf("node-name claim is %v, want [leaving]", got)
	}
	if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing Nodes without a role: got %v, want forbidden", err)
	}

	if err := c.Admin().CoreV1().Nodes().Delete(ctx, "leaving", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The API server keeps what it learnt of a token for some seconds.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err = whoAmI(ctx, client); apierrors.IsUnauthorized(err) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after its Node was deleted: got %v, want unauthorized", err)
		}
	}
}

// Pods and Services of one family, and an API server that is reached by the other.
func TestFamiliesApart(t *testing.T) {
	for _, test := range []struct {
		name          string
		address       string
		pods, service string
		mask6         int
		want          string
	}{
		{"IPv6 over IPv4", "172.30.0.1", "fd44::/48", "fd96::/108", 60, "fd44::/60"},
		{"IPv4 over IPv6", "fd30::1", "10.244.0.0/16", "10.96.0.0/16", 0, "10.244.0.0/24"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, _ := dual(t)
			o.Addresses, o.PodCIDRs, o.ServiceCIDRs = addresses(test.address), prefixes(test.pods), prefixes(test.service)
			o.NodeMask6 = test.mask6
			node, _ := register(t, start(t, o), "n1")
			if diff := cmp.Diff([]string{test.want}, node.Spec.PodCIDRs); diff != "" {
				t.Errorf("pod CIDRs (-want +got):\n%s", diff)
			}
		})
	}
}

func whoAmI(ctx context.Context, client kubernetes.Interface) (authenticationv1.UserInfo, error) {
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

func TestStartFailsAtOnce(t *testing.T) {
	o, _ := dual(t)
	programs := t.TempDir()
	for _, name := range []string{"etcd", "kube-controller-manager"} {
		if err := os.Symlink(filepath.Join(o.Assets, name), filepath.Join(programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	// The real one, with something it does not understand.
	script := "#!/bin/sh\nexec " + filepath.Join(o.Assets, "kube-apiserver") + ` "$@" --no-such-flag` + "\n"
	if err := os.WriteFile(filepath.Join(programs, "kube-apiserver"), []byte(script), 0o700); err != nil { // #nosec G306 -- it is a program
		t.Fatal(err)
	}
	o.Assets = programs
	var started []*exec.Cmd
	run := o.Start
	o.Start = func(cmd *exec.Cmd) error {
		started = append(started, cmd)
		return run(cmd)
	}
	begin := time.Now()
	c, err := Start(t.Context(), o)
	if err == nil {
		t.Fatal("it started", c.Stop())
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("took %s", took)
	}
	for _, want := range []string{"kube-apiserver ended early", "exit status 1", "unknown flag: --no-such-flag"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if len(started) != 2 {
		t.Errorf("%d programs were started, want etcd and kube-apiserver", len(started))
	}
	for _, cmd := range started {
		if cmd.ProcessState == nil {
			t.Errorf("%v was left running", cmd.Args)
		}
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	o, _ := dual(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	run := o.Start
	o.Start = func(cmd *exec.Cmd) error { cancel(enough); return run(cmd) }
	if _, err := Start(ctx, o); !errors.Is(err, enough) {
		t.Errorf("got %v, want the context's cause", err)
	}
}
