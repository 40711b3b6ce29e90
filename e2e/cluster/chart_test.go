package cluster

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab"
)

// TestChart: helm installs the chart, upgrades it under traffic, refuses a bad value before anything is changed, rolls back, and takes all of it away.
func TestChart(t *testing.T) {
	root, err := lab.Repository()
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, Options{CNI: None, Manifests: []string{filepath.Join(root, "manifests", "warren.yaml")}})
	helm := buildHelm(t, root)
	const agents = "\nkubectl rollout status -n kube-system daemonset/warren --timeout=3m"
	shell(t, c, helm+" install warren manifests/chart/warren -n kube-system --wait --timeout=3m")
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(warrens(apiSnapshot(t, c))) == 0 {
		t.Error("nothing in the API is Warren's: the look at what is left sees nothing")
	}
	first := agentVersions(t, c)
	next, err := c.MakeVersion(t.Context(), nextVersion)
	if err != nil {
		t.Fatal(err)
	}
	_, tag, _ := strings.Cut(next, ":")

	traffic := startTraffic(t, c)
	shell(t, c, helm+" upgrade warren manifests/chart/warren -n kube-system --wait --timeout=3m --set image.tag="+tag+agents)
	if got := agentVersions(t, c); got != nextVersion {
		t.Errorf("after the upgrade the agents are of version %s", got)
	}
	out, err := c.Shell(t.Context(), helm+" upgrade warren manifests/chart/warren -n kube-system --set listenPort=70000")
	if err == nil || !strings.Contains(out, "listenPort") {
		t.Errorf("a port that there is not: %v: %s", err, out)
	}
	shell(t, c, helm+" rollback warren 1 -n kube-system --wait --timeout=3m"+agents)
	if got := agentVersions(t, c); got != first {
		t.Errorf("after the rollback the agents are of version %s, want %s", got, first)
	}
	traffic.assert(t, 0)
	if history := shell(t, c, helm+" history warren -n kube-system --max 10 -o json"); strings.Count(history, `"revision"`) != 3 {
		t.Errorf("want three revisions, none of the value that was refused: %s", history)
	}
	shell(t, c, "kubectl delete daemonset/echo service/echo\nkubectl wait pod -l app=echo --for=delete --timeout=2m\n"+
		"kubectl delete daemonset -n kube-system warren warren-tunnel --cascade=foreground") // as docs/install.md says
	t.Log(shell(t, c, helm+" uninstall warren -n kube-system --wait --timeout=3m"))
	if left := warrens(apiSnapshot(t, c)); len(left) > 0 {
		t.Errorf("helm uninstall has left %s", left)
	}
}

// warrens are the objects of a list that are Warren's by name.
func warrens(list string) (found []string) {
	for line := range strings.Lines(list) {
		if strings.Contains(line, "/warren") || strings.Contains(line, ".warren.dev") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// buildHelm builds helm itself, of the version that manifests/helm names, once for all tests.
func buildHelm(t *testing.T, root string) (program string) {
	t.Helper()
	program = filepath.Join(root, ".cache", "tools", "helm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join(root, "manifests", "helm"), "-o", program, "helm.sh/helm/v3/cmd/helm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building helm: %v\n%s", err, out)
	}
	return program
}
