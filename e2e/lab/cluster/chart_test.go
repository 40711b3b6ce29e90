package cluster

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestChart: helm installs the chart on the real API server, upgrades it with another value, refuses a bad one before anything is changed, rolls
// back, and takes all of it away. What comes of it on nodes is e2e/cluster's to test.
func TestChart(t *testing.T) {
	o, n := dual(t)
	c := start(t, o)
	program := filepath.Join(t.TempDir(), "helm")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join(manifestsFolder, "helm"), "-o", program, "helm.sh/helm/v3/cmd/helm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building helm: %v\n%s", err, out)
	}
	try := func(line string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, append(strings.Fields(line), "--namespace=kube-system", "--kubeconfig="+c.AdminKubeconfig())...)
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := n.start(cmd); err != nil {
			return "", err
		}
		err := cmd.Wait()
		return out.String(), err
	}
	helm := func(line string) string {
		t.Helper()
		out, err := try(line)
		if err != nil {
			t.Fatalf("helm %s: %v\n%s", line, err, out)
		}
		return out
	}
	told := func() string { // what the agents are told of the log's level
		t.Helper()
		set, err := c.Admin().AppsV1().DaemonSets(metav1.NamespaceSystem).Get(t.Context(), "warren", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return environment(set.Spec.Template.Spec.Containers[0])["WARREN_LOG_LEVEL"]
	}
	chart := filepath.Join(manifestsFolder, "chart", "warren")

	before := warrens(t, c)
	helm("install warren " + chart)
	if installed := warrens(t, c); len(before) > 0 || len(installed) == 0 {
		t.Errorf("before there is %s, and then %s", before, installed)
	}
	helm("upgrade warren " + chart + " --set logLevel=debug")
	if level := told(); level != "debug" {
		t.Errorf("after the upgrade the agents are told of the level %q", level)
	}
	if out, err := try("upgrade warren " + chart + " --set logLevel=info,listenPort=70000"); err == nil || !strings.Contains(out, "listenPort") {
		t.Errorf("a port that there is not: %v: %s", err, out)
	}
	if level, history := told(), helm("history warren -o json"); level != "debug" || strings.Count(history, `"revision"`) != 2 {
		t.Errorf("the value that was refused changed something: level %q, %s", level, history)
	}
	helm("rollback warren 1")
	if level := told(); level != "" {
		t.Errorf("after the rollback the agents are told of the level %q", level)
	}
	helm("uninstall warren --wait --timeout=1m")
	if left := warrens(t, c); len(left) > 0 {
		t.Errorf("helm uninstall has left %s", left)
	}
}

// warrens are the API's objects that are Warren's by name.
func warrens(t *testing.T, c *Cluster) (names []string) {
	t.Helper()
	for _, kind := range []string{
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
		"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
		"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", "/apis/apps/v1/daemonsets", "/api/v1/serviceaccounts", "/api/v1/secrets",
		"/api/v1/configmaps", "/apis/rbac.authorization.k8s.io/v1/roles", "/apis/rbac.authorization.k8s.io/v1/rolebindings",
	} {
		text, err := c.Admin().CoreV1().RESTClient().Get().AbsPath(kind).SetHeader("Accept", "application/json").DoRaw(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		var list metav1.PartialObjectMetadataList
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, object := range list.Items {
			if strings.Contains(object.Name, "warren") {
				names = append(names, kind+"/"+object.Name)
			}
		}
	}
	return names
}
