package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testMonitoring: the API server takes what manifests/monitoring makes of the base, but for the objects of Prometheus' operator, whose CRDs are
// not here. The agents may do no more with it.
func testMonitoring(t *testing.T, c *Cluster) {
	var kept []string
	left := 0
	text := render(t, "render/testdata/monitoring")
	for _, document := range strings.Split(text, "\n---\n") {
		if strings.Contains(document, "apiVersion: monitoring.coreos.com/") {
			left++
			continue
		}
		kept = append(kept, document)
	}
	if left != 2 {
		t.Errorf("%d objects are of the operator, want a PodMonitor and a PrometheusRule", left)
	}
	text = strings.Join(kept, "\n---\n")
	if err := c.Apply(t.Context(), []byte(text)); err != nil {
		t.Fatal(err)
	}
	sets := daemonSets(t, text)
	for _, set := range sets {
		tryPod(t, c, set)
		hardened(t, set, capabilities)
	}
	want := map[string]string{
		"WARREN_CLUSTER_CIDR": "10.244.0.0/16", "WARREN_TUNNEL_SOCKET": "/run/warren/tunnel.sock", "WARREN_METRICS_BIND_ADDRESS": "[$(HOST_IP)]:9586",
	}
	if got := environment(sets["warren"].Spec.Template.Spec.Containers[0]); !cmp.Equal(got, want) {
		t.Errorf("the agent's environment (-want +got):\n%s", cmp.Diff(want, got))
	}
}
