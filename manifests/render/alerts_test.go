package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"
)

const rulesFile = "../monitoring/rules.yaml"

// situations are, for each alert, what the agents tell in two cases, a sample each half minute: it fires in the first, for the labels in
// want, and in the second, which is near, it does not. Nothing else fires in either.
var situations = map[string]struct{ want, fires, quiet string }{
	"WarrenAgentDown":      {`instance="n1",job="warren"`, `up{job="warren",instance="n1"} 0x60`, `up{job="warren",instance="n1"} 0x8 1x52`},
	"WarrenAgentsUnknown":  {`job="warren"`, `up{job="node"} 1x60`, `up{job="warren",instance="n1"} 1x60`},
	"WarrenDeviceDown":     {`instance="n1"`, `warren_wireguard_up{instance="n1"} 0x60`, `warren_wireguard_up{instance="n1"} 1x20 0x2 1x40`},
	"WarrenSyncFailing":    {`instance="n1",part="all"`, `warren_sync_failures_total{instance="n1",part="all"} 0+1x60`, `warren_sync_failures_total{instance="n1",part="all"} 7x60`},
	"WarrenPublishFailing": {`instance="n1"`, `warren_publish_failures_total{instance="n1"} 0+1x60`, `warren_publish_failures_total{instance="n1"} 0x5 1x55`},
	"WarrenPlanNotSaved":   {`instance="n1"`, `warren_checkpoint_failures_total{instance="n1"} 0+6x60`, `warren_checkpoint_failures_total{instance="n1"} 0x5 1x55`},
	"WarrenPeerSilent": {`node="n2"`,
		`warren_peer_transmit_bytes_total{instance="n1",node="n2"} 0+888x60
		warren_peer_receive_bytes_total{instance="n1",node="n2"} 5000x60
		warren_peer_transmit_bytes_total{instance="n1",node="n3"} 0+888x60
		warren_peer_receive_bytes_total{instance="n1",node="n3"} 0+500x60`,
		`warren_peer_transmit_bytes_total{instance="n1",node="n2"} 9000x60
		warren_peer_receive_bytes_total{instance="n1",node="n2"} 5000x60`},
	"WarrenClaimsRefused": {`reason="Overlap"`,
		`warren_refused_claims{instance="n1",reason="Overlap"} 1x60
		warren_refused_claims{instance="n2",reason="Overlap"} 1x60
		warren_refused_claims{instance="n1",reason="KeyTaken"} 0x60`,
		`warren_refused_claims{instance="n1",reason="Overlap"} 1x10 0x50`},
	"WarrenNodesWaiting":   {"", `warren_waiting_nodes{instance="n1"} 1x60`, `warren_waiting_nodes{instance="n1"} 0x20 3x10 0x30`},
	"WarrenStateChanged":   {`instance="n1",part="route"`, `warren_drift_total{instance="n1",part="route"} 0+1x60`, `warren_drift_total{instance="n1",part="route"} 0x20 1x40`},
	"WarrenClearStopped":   {`instance="n1"`, `warren_clear_stopped_packets_total{instance="n1"} 0+300x60`, `warren_clear_stopped_packets_total{instance="n1"} 0x10 0+300x6 1800x40`},
	"WarrenSpoofedPackets": {`instance="n1",reason="podspoof"`, `warren_guard_dropped_packets_total{instance="n1",reason="podspoof"} 0+300x60`, `warren_guard_dropped_packets_total{instance="n1",reason="clear"} 0+300x60`},
	"WarrenPodsFail":       {`instance="n1"`, `warren_cni_failures_total{instance="n1",command="ADD"} 0+2x60`, `warren_cni_failures_total{instance="n1",command="CHECK"} 0+2x60`},
	"WarrenAddressesScarce": {`instance="n1",prefix="10.244.1.0/24"`,
		`warren_leases{instance="n1",prefix="10.244.1.0/24",pool=""} 240x60
		warren_pool_size{instance="n1",prefix="10.244.1.0/24",pool=""} 253x60
		warren_leases{instance="n1",prefix="fd00::/64",pool=""} 240x60
		warren_pool_size{instance="n1",prefix="fd00::/64",pool=""} 16384x60`,
		`warren_leases{instance="n1",prefix="10.64.0.0/26",pool="a"} 60x60
		warren_pool_size{instance="n1",prefix="10.64.0.0/26",pool="a"} 61x60`},
	"WarrenBlocksFull": {`instance="n1",pool="a"`,
		`warren_leases{instance="n1",prefix="10.64.0.0/26",pool="a"} 61x60
		warren_pool_size{instance="n1",prefix="10.64.0.0/26",pool="a"} 61x60`,
		`warren_leases{instance="n1",prefix="10.64.0.0/26",pool="a"} 61x60
		warren_pool_size{instance="n1",prefix="10.64.0.0/26",pool="a"} 61x60
		warren_leases{instance="n1",prefix="10.64.0.64/26",pool="a"} 0x60
		warren_pool_size{instance="n1",prefix="10.64.0.64/26",pool="a"} 61x60`},
	"WarrenPolicyNotEnforced": {`instance="n1"`, `warren_policy_transaction_failures_total{instance="n1"} 0+1x60`, `warren_policy_transaction_failures_total{instance="n1"} 4x60`},
	"WarrenPodsNotPoliced":    {`instance="n1"`, `warren_policy_unenforced_pods{instance="n1"} 2x60`, `warren_policy_unenforced_pods{instance="n1"} 0x60`},
	"WarrenPolicySlow": {`instance="n1"`,
		`warren_policy_event_seconds_bucket{instance="n1",kind="Pod",le="0.1"} 0+1x60
		warren_policy_event_seconds_bucket{instance="n1",kind="Pod",le="13.1"} 0+9x60
		warren_policy_event_seconds_bucket{instance="n1",kind="Pod",le="+Inf"} 0+9x60`,
		`warren_policy_event_seconds_bucket{instance="n1",kind="Pod",le="0.1"} 0+9x60
		warren_policy_event_seconds_bucket{instance="n1",kind="Pod",le="13.1"} 0+9x60
		warren_policy_event_seconds_bucket{instance="n1",kind="Pod",le="+Inf"} 0+9x60`},
	"WarrenFlowsNotCut": {`instance="n1"`, `warren_policy_revocation_failures_total{instance="n1"} 0+1x60`, `warren_policy_revocation_failures_total{instance="n1"} 0x5 1x55`},
}

// TestAlerts has Prometheus judge half an hour of each situation.
func TestAlerts(t *testing.T) {
	for _, name := range alertNames(t) {
		s, ok := situations[name]
		if !ok {
			t.Errorf("there is no situation for the alert %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			want := []string{name + "{" + strings.ReplaceAll(s.want, ",", ", ") + "}"}
			if diff := gocmp.Diff(want, firing(t, s.fires)); diff != "" {
				t.Errorf("alerts where it should fire (-want +got):\n%s", diff)
			}
			if got := firing(t, s.quiet); len(got) != 0 {
				t.Errorf("alerts where none should fire: %q", got)
			}
		})
	}
}

// TestEveryAlertSaysWhatToDo: docs/alerts.md has a section of each alert, and of nothing else.
func TestEveryAlertSaysWhatToDo(t *testing.T) {
	text, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		name, what, _ := strings.Cut(section, "\n")
		if len(strings.Fields(what)) < 10 {
			t.Errorf("docs/alerts.md says nothing of %s", name)
		}
		documented = append(documented, name)
	}
	if diff := gocmp.Diff(alertNames(t), documented); diff != "" {
		t.Errorf("docs/alerts.md (-rules +docs):\n%s", diff)
	}
	for _, rule := range alerts(t) {
		if got, want := rule.Annotations["runbook_url"], "/docs/alerts.md#"+strings.ToLower(rule.Alert); !strings.HasSuffix(got, want) {
			t.Errorf("%s: its runbook is %q, want one that ends in %s", rule.Alert, got, want)
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || !slices.Contains([]string{"critical", "warning"}, rule.Labels["severity"]) {
			t.Errorf("%s has no summary, no description or no severity", rule.Alert)
		}
	}
}

// firing are the alerts that fire at any time while the agents tell that.
func firing(t *testing.T, series string) []string {
	t.Helper()
	if !strings.Contains(series, "up{job=") {
		series += "\n" + `up{job="warren",instance="n1"} 1x60`
	}
	var load strings.Builder
	load.WriteString("load 30s\n")
	for line := range strings.Lines(series) {
		load.WriteString("  " + strings.TrimSpace(line) + "\n")
	}
	storage := promqltest.LoadedStorage(t, load.String())
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(engine, storage), NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Context: t.Context(), AppendableV2: storage, Queryable: storage, Parser: parser.NewParser(parser.Options{}),
	})
	groups, errs := manager.LoadGroups(30*time.Second, labels.EmptyLabels(), "", nil, false, ruleGroups(t))
	if len(errs) != 0 {
		t.Fatal(errs)
	}
	fired := make(map[string]bool)
	for at := time.Unix(0, 0); at.Before(time.Unix(1800, 0)); at = at.Add(30 * time.Second) {
		for _, group := range groups {
			group.Eval(t.Context(), at)
			for _, rule := range group.AlertingRules() {
				if rule.LastError() != nil {
					t.Fatalf("%s: %v", rule.Name(), rule.LastError())
				}
				for _, alert := range rule.ActiveAlerts() {
					if alert.State == rules.StateFiring {
						fired[describe(rule.Name(), alert)] = true
					}
					if text := alert.Annotations.String(); strings.Contains(text, "<no value>") || strings.Contains(text, "error expanding") {
						t.Errorf("%s says %s", rule.Name(), text)
					}
				}
			}
		}
	}
	var all []string
	for name := range fired {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// describe is an alert's name and the labels that it is for.
func describe(name string, alert *rules.Alert) string {
	return name + labels.NewBuilder(alert.Labels).Del("alertname", "severity").Labels().String()
}

// ruleGroups is a file of the rules as Prometheus reads them, and the operator writes them.
func ruleGroups(t *testing.T) string {
	t.Helper()
	text, err := yaml.Marshal(prometheusRule(t).Spec)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func prometheusRule(t *testing.T) *monitoring.PrometheusRule {
	t.Helper()
	var rule monitoring.PrometheusRule
	readStrict(t, rulesFile, &rule)
	return &rule
}

func alerts(t *testing.T) (all []monitoring.Rule) {
	t.Helper()
	for _, group := range prometheusRule(t).Spec.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

func alertNames(t *testing.T) (names []string) {
	t.Helper()
	for _, rule := range alerts(t) {
		names = append(names, rule.Alert)
	}
	return names
}

// readStrict reads YAML into the type that the operator has of it: an unknown field is an error.
func readStrict(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
