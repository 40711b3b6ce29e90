package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestUninstall: what docs/install.md says under "To leave" leaves the nodes and the API as they were before Warren came.
func TestUninstall(t *testing.T) {
	root, err := lab.Repository()
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, Options{CNI: None, Manifests: []string{filepath.Join(root, "manifests", "warren.yaml")}})
	before := snapshot(t, c)
	if err := c.Install(t.Context(), Warren); err != nil {
		t.Fatal(err)
	}
	assertConnected(t, c)
	for what, text := range snapshot(t, c) {
		if text == before[what] {
			t.Errorf("%s is as before with Warren there: the comparison sees nothing", what)
		}
	}
	// The pods go first: with its plugin gone the runtime cannot end those that have a network.
	if _, err := c.Shell(t.Context(), "kubectl delete daemonset/echo service/echo\nkubectl wait pod -l app=echo --for=delete --timeout=2m"); err != nil {
		t.Fatal(err)
	}
	if err := c.Lab.Cluster().Apply(t.Context(), []byte(heldBlock)); err != nil {
		t.Fatal(err)
	}
	out, err := c.Shell(t.Context(), toLeave(t, filepath.Join(root, "docs", "install.md")))
	t.Log(out)
	if err != nil {
		t.Fatal(err)
	}
	// The nodes' own programs have not noticed everything yet.
	var diff string
	for range 60 {
		if diff = cmp.Diff(before, snapshot(t, c)); diff == "" {
			break
		}
		time.Sleep(time.Second)
	}
	if diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// heldBlock is a block as an agent claims it, with a finalizer that only agents take away.
const heldBlock = `
apiVersion: warren.dev/v1alpha1
kind: IPPool
metadata: {name: main}
spec: {cidr: 10.244.128.0/26, blockSize: 28}
---
apiVersion: warren.dev/v1alpha1
kind: IPBlock
metadata: {name: 10.244.128.0-28, finalizers: [warren.dev/block]}
spec: {cidr: 10.244.128.0/28, pool: main, nodeName: n1}
`

// toLeave are the commands of the document's section of that name.
func toLeave(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## To leave\n")
	_, block, _ := strings.Cut(section, "```sh\n")
	lines, _, found := strings.Cut(block, "```")
	if !found || !strings.Contains(lines, "manifests/uninstall.yaml") {
		t.Fatalf("%s has no commands under \"To leave\": %q", file, lines)
	}
	return lines
}

// theirs are the folders of a node that others than Warren change, and of the machine.
var theirs = []string{
	"/proc", "/sys", "/dev", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/ssl", "/etc/ca-certificates",
	"/var/log", "/var/lib/kubelet", "/var/lib/containerd", "/run/containerd", "/run/netns",
}

// proxyTable is kube-proxy's, which keeps the empty chains of services that are gone until it has something to do.
var proxyTable = regexp.MustCompile(`(?ms)^table ip6? kube-proxy \{$.*?^\}\n`)

// snapshot is what Warren could have changed, by what it is.
func snapshot(t *testing.T, c *Cluster) map[string]string {
	t.Helper()
	found := map[string]string{"API": apiSnapshot(t, c)}
	for _, n := range c.Lab.Nodes() {
		network, err := n.SnapshotNetwork(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		files, err := n.SnapshotFiles(append(slices.Clone(theirs), lab.Base(), c.programs.bin, c.programs.nodes), "/")
		if err != nil {
			t.Fatal(err)
		}
		found[n.Name+"'s network"], found[n.Name+"'s files"] = proxyTable.ReplaceAllString(network, ""), files
	}
	return found
}

// apiSnapshot is what there is but pods and Events, and of Nodes what others may write.
func apiSnapshot(t *testing.T, c *Cluster) string {
	t.Helper()
	text, err := c.Shell(t.Context(), `kubectl get -A -o name crd,clusterrole,clusterrolebinding,role,rolebinding,validatingadmissionpolicy,`+
		`validatingadmissionpolicybinding,serviceaccount,configmap,secret,daemonset,deployment,service,networkpolicy | sort`)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := c.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		var conditions []string
		for _, condition := range n.Status.Conditions {
			conditions = append(conditions, fmt.Sprintf("%s=%s", condition.Type, condition.Status))
		}
		slices.Sort(conditions)
		var taints []string
		for _, taint := range n.Spec.Taints {
			if taint.Key != corev1.TaintNodeNotReady { // it follows from a condition, in a while
				taints = append(taints, fmt.Sprintf("%s:%s", taint.Key, taint.Effect))
			}
		}
		text += fmt.Sprintf("%s\n labels %v\n annotations %v\n taints %v\n conditions %v\n", n.Name, n.Labels, n.Annotations, taints, conditions)
	}
	return text
}
