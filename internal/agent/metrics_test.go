package agent

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestMetricsAreThoseOfTheTable compares what the agent registers, names and labels, with the table in docs/operate.md, both ways. Alerts and
// the dashboard are held to that table (manifests/render).
func TestMetricsAreThoseOfTheTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`warren_[^|]+)\\|").FindAllSubmatch(text, -1) {
		for _, metric := range regexp.MustCompile("`(warren_[^`]+)`").FindAllSubmatch(row[1], -1) {
			documented = append(documented, string(metric[1]))
		}
	}
	a := new(Agent)
	a.metrics = newMetrics(a)
	newTellMetrics(a.metrics.registry, &a.enforcement)
	descriptions := make(chan *prometheus.Desc)
	go func() {
		a.metrics.registry.Describe(descriptions)
		close(descriptions)
	}()
	var registered []string
	for d := range descriptions {
		// What a Desc is, it says in its text only.
		parts := regexp.MustCompile(`fqName: "(warren_[a-z_]+)".* variableLabels: \{(.*?)\}`).FindStringSubmatch(d.String())
		if parts == nil {
			continue // the process's and Go's own
		}
		name := parts[1]
		if labels := strings.ReplaceAll(parts[2], " ", ""); labels != "" {
			name += "{" + labels + "}"
		}
		registered = append(registered, name)
	}
	slices.Sort(documented)
	slices.Sort(registered)
	if len(registered) < 30 {
		t.Errorf("the agent registers %d metrics only: this test would not see what it looks for", len(registered))
	}
	if diff := cmp.Diff(registered, documented); diff != "" {
		t.Errorf("metrics (-agent +docs/operate.md):\n%s", diff)
	}
}
