package main

import (
	"context"
	"time"
)

// suite is somebody else's judgement.
type suite struct {
	name, title string
	about       string // what of it is run, for the report
	run         func(ctx context.Context, r *room) ([]testCase, error)
	module      string // whose version is the suite's
	from        string // the nested module that requires it
}

// suites are all there are, in the order in which they run.
var suites = []suite{
	{
		name: "netpol", title: "Kubernetes: NetworkPolicy", module: "k8s.io/kubernetes", from: "e2e/conformance/kubernetes",
		about: "The specs of `[sig-network] Netpol` and `Netpol API` in Kubernetes' e2e tests.",
		run:   specs{all: `\[sig-network\] Netpol`, quick: `default-deny-ingress|with specific port|API with endport`}.run,
	},
	{
		name: "network", title: "Kubernetes: the rest of sig-network", module: "k8s.io/kubernetes", from: "e2e/conformance/kubernetes",
		about: "All other specs of `[sig-network]`: networking, services, DNS, dual stack.",
		run:   specs{all: `\[sig-network\]`, not: `\[sig-network\] Netpol`, quick: `pod-Service: (http|udp)|provide DNS for services|ipv4 and ipv6 ip$`}.run,
	},
	{
		name: "policyapi", title: "network-policy-api: ClusterNetworkPolicy", module: "sigs.k8s.io/network-policy-api", from: "e2e/conformance/policyapi",
		about: "The conformance suite with all features, the experimental ones included; subtests are cases.", run: runPolicyAPI,
	},
	{
		name: "cyclonus", title: "cyclonus: generated NetworkPolicies", module: "github.com/mattfenwick/cyclonus", from: "policy/cyclonus",
		about: "All that `cyclonus generate` has, between pods' addresses; each case is a table of probes of nine pods to one another, not to themselves, by TCP and UDP on two ports each.", run: runCyclonus,
	},
}

func suiteNames() (names []string) {
	for _, s := range suites {
		names = append(names, s.name)
	}
	return names
}

// verdict is what became of a case.
type verdict string

const (
	passed  verdict = "passed"
	failed  verdict = "failed"
	skipped verdict = "skipped"
	missed  verdict = "not run" // the run ended before
)

// testCase is one of a suite's.
type testCase struct {
	name    string
	verdict verdict
	reason  string // of one that did not pass
	took    time.Duration
}
