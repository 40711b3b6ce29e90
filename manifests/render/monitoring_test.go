package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// foreign are metrics that not the agent's own code makes.
var foreign = map[string]bool{"up": true, "process_resident_memory_bytes": true}

// TestEveryMetricIsThere: alerts and dashboard ask for metrics and labels that docs/operate.md has, and that table is what the agent registers
// (internal/agent).
func TestEveryMetricIsThere(t *testing.T) {
	documented := documentedMetrics(t)
	for where, expression := range expressions(t) {
		tree, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
		if err != nil {
			t.Errorf("%s: %q: %v", where, expression, err)
			continue
		}
		parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok || foreign[selector.Name] {
				return nil
			}
			own, ok := documented[selector.Name]
			if !ok {
				t.Errorf("%s: the agent has no metric %q", where, selector.Name)
				return nil
			}
			for _, matcher := range selector.LabelMatchers {
				if name := matcher.Name; name != labels.MetricName && name != "instance" && !strings.Contains(own, name) {
					t.Errorf("%s: %s has no label %q", where, selector.Name, name)
				}
			}
			return nil
		})
	}
}

// documentedMetrics are the metrics of docs/operate.md and their labels. A histogram's are those that Prometheus stores of it.
func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| (`warren_[^|]+)\\|").FindAllStringSubmatch(string(text), -1) {
		for _, metric := range regexp.MustCompile("`(warren_[a-z_]+)({[a-z,]+})?`").FindAllStringSubmatch(row[1], -1) {
			name := metric[1]
			all[name] = metric[2]
			if !strings.HasSuffix(name, "_total") {
				all[name+"_bucket"], all[name+"_sum"], all[name+"_count"] = metric[2]+"le", metric[2], metric[2]
			}
		}
	}
	if len(all) < 50 {
		t.Fatalf("docs/operate.md has %d metrics only", len(all))
	}
	return all
}

// expressions are all that Prometheus is asked, by who asks.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, rule := range alerts(t) {
		all["alert "+rule.Alert] = rule.Expr.String()
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	text, err := os.ReadFile("../monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			// Grafana's own variables, as it fills them in.
			all["panel "+panel.Title+", "+target.RefID] = strings.NewReplacer("$__rate_interval", "2m", "$instance", ".*").Replace(target.Expr)
		}
	}
	if len(all) < 30 {
		t.Fatalf("there are %d expressions only", len(all))
	}
	return all
}

// TestPodMonitor: it finds the agents' pods, by the port that they have, and only where they serve to others.
func TestPodMonitor(t *testing.T) {
	var monitor monitoring.PodMonitor
	readStrict(t, "../monitoring/podmonitor.yaml", &monitor)
	set := rendered(t, "testdata/monitoring")["DaemonSet warren"]
	pod := set["spec"].(values)["template"].(values)
	for name, value := range monitor.Spec.Selector.MatchLabels {
		if got := pod["metadata"].(values)["labels"].(values)[name]; got != value {
			t.Errorf("the agents' label %s is %v, and the PodMonitor wants %s", name, got, value)
		}
	}
	port := containers(set)[0].(values)["ports"].([]any)[0].(values)["name"]
	if want := monitor.Spec.PodMetricsEndpoints[0].Port; want == nil || *want != port {
		t.Errorf("the agents' port is %v, and the PodMonitor wants %v", port, want)
	}
	for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		if get := containers(set)[0].(values)[probe].(values)["httpGet"].(values); get["host"] != nil {
			t.Errorf("the %s asks %v, where nobody serves", probe, get["host"])
		}
	}
}

// TestMonitoringValues: what the chart's values say of monitoring is in what it makes.
func TestMonitoringValues(t *testing.T) {
	text, err := template(values{"monitoring": values{
		"expose": true, "podMonitor": true, "rules": true, "interval": "2m", "peers": false, "labels": values{"release": "prometheus"},
	}}, namespace)
	if err != nil {
		t.Fatal(err)
	}
	all := objects(t, text)
	for _, name := range []string{"PodMonitor warren", "PrometheusRule warren"} {
		want := values{"app.kubernetes.io/name": "warren", "release": "prometheus"}
		if diff := cmp.Diff(want, all[name]["metadata"].(values)["labels"]); diff != "" {
			t.Errorf("labels of %s (-want +got):\n%s", name, diff)
		}
	}
	endpoint := all["PodMonitor warren"]["spec"].(values)["podMetricsEndpoints"].([]any)[0].(values)
	want := []any{values{"action": "drop", "sourceLabels": []any{"__name__"}, "regex": "warren_peer_.+"}}
	if diff := cmp.Diff(want, endpoint["metricRelabelings"]); diff != "" || endpoint["interval"] != "2m" {
		t.Errorf("it is asked each %v and keeps (-want +got):\n%s", endpoint["interval"], diff)
	}
	if _, there := all["ConfigMap warren-dashboard"]; there {
		t.Error("there is a dashboard, which was not asked for")
	}
}
