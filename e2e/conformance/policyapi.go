package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// runPolicyAPI runs the conformance suite of the network-policy-api.
func runPolicyAPI(ctx context.Context, r *room) ([]testCase, error) {
	args := []string{"-test.v=test2json", "-test.timeout=" + r.options.within.String()}
	switch {
	case r.options.focus != "":
		args = append(args, "-test.run=^TestConformance$/"+r.options.focus)
	case r.options.quick:
		args = append(args, "-test.run=^TestConformance$/^CNPAdminTierIngressUDP$")
	}
	if !hasSCTP() {
		args = append(args, "-test.skip=^TestConformance$/SCTP$", "-sctp=false")
	}
	runErr := r.command(ctx, "policyapi.test", args...)
	text, err := os.ReadFile(r.file("policyapi.test.log"))
	if err != nil {
		return nil, errors.Join(runErr, err)
	}
	convert := exec.CommandContext(context.WithoutCancel(ctx), "go", "tool", "test2json")
	convert.Stdin = bytes.NewReader(text)
	events, err := convert.Output()
	if err != nil {
		return nil, errors.Join(runErr, err)
	}
	cases, err := readTests(events)
	for i, c := range cases {
		cases[i] = explain(c)
	}
	if !hasSCTP() && r.options.focus == "" && !r.options.quick {
		for _, name := range []string{"CNPAdminTierEgressSCTP", "CNPAdminTierIngressSCTP", "CNPBaselineTierEgressSCTP", "CNPBaselineTierIngressSCTP"} {
			cases = append(cases, testCase{name: name, verdict: skipped, reason: noSCTP})
		}
	}
	if len(cases) == 0 {
		err = errors.Join(err, runErr)
	}
	return cases, err
}

// readTests makes cases of what go tool test2json wrote: of the tests without subtests, and of those that failed outside theirs. Tests run one after the
// other: what is written belongs to the one that began last, although the suite writes it in its parent's name.
func readTests(events []byte) (cases []testCase, err error) {
	type event struct {
		Action, Test, Output string
		Elapsed              float64
	}
	said, parents := "", map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(events)); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		if e.Test == "" {
			continue
		}
		if i := strings.LastIndex(e.Test, "/"); i > 0 {
			parents[e.Test[:i]] = true
		}
		found := testCase{name: strings.TrimPrefix(e.Test, "TestConformance/"), took: time.Duration(e.Elapsed * float64(time.Second)), reason: said}
		switch e.Action {
		case "run":
			said = ""
			continue
		case "output":
			said += e.Output
			continue
		case "pass":
			found.verdict, found.reason = passed, ""
		case "fail":
			found.verdict = failed
		case "skip":
			found.verdict = skipped
		default:
			continue
		}
		if !parents[e.Test] {
			cases = append(cases, found)
		}
	}
	return cases, nil
}

// probe matches a probe of the suite's that found what it should not, and what it found.
var probe = regexp.MustCompile(`FAILED Command was \[(.*)\]\n.*?: (Expected .*)`)

// explain makes of what a failed case wrote what its probes found. A case of which nothing but SCTP was refused, by the socket and not by the network,
// is one that cannot be run here: probes by all protocols follow one another in it, and it ends at the first that fails.
func explain(c testCase) testCase {
	if c.verdict != failed {
		return c
	}
	probes := probe.FindAllStringSubmatch(c.reason, -1)
	if len(probes) == 0 {
		return c
	}
	for _, p := range probes {
		if !strings.Contains(p[1], "--protocol=sctp") || !strings.Contains(p[2], "protocol not supported") {
			c.reason = p[1] + ": " + p[2]
			return c
		}
	}
	c.verdict, c.reason = skipped, noSCTP+": it probes by SCTP among others"
	return c
}
