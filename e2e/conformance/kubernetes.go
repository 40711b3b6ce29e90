package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// specs are some of those in Kubernetes' e2e.test: those that match all and, where there is such, do not match not.
type specs struct {
	all, not string
	quick    string // of a quick run, after all
}

func (s specs) run(ctx context.Context, r *room) ([]testCase, error) {
	wanted, why := s.all, skips()
	if more := r.options.focus; more != "" || r.options.quick {
		if more == "" {
			more = s.quick
		}
		wanted += ".*(" + more + ")"
	}
	focus, err := regexp.Compile(wanted)
	if err != nil {
		return nil, fmt.Errorf("-focus: %w", err)
	}
	args := []string{
		"--no-color", "--procs=" + strconv.Itoa(r.options.procs), "--timeout=" + r.options.within.String(), "--focus=" + wanted,
		"--output-dir=" + r.dir, "--json-report=specs.json",
	}
	if s.not != "" {
		args = append(args, "--skip="+s.not)
	}
	for _, skip := range why {
		args = append(args, "--skip="+skip.match.String())
	}
	args = append(args, r.path("e2e.test"), "--", "--provider=skeleton", "--kubeconfig="+r.kubeconfig(), "--kubectl-path="+r.cluster.Kubectl(),
		"--num-nodes="+strconv.Itoa(r.options.nodes), "--dump-logs-on-failure=false")
	report := r.file("specs.json")
	if err := os.RemoveAll(report); err != nil {
		return nil, err
	}
	runErr := r.command(ctx, "ginkgo", args...)
	content, err := os.ReadFile(report) //nolint:gosec // what was just written
	if err != nil {
		return nil, errors.Join(runErr, err)
	}
	cases, err := readSpecs(content, func(name string) (bool, string) {
		if !focus.MatchString(name) || s.not != "" && regexp.MustCompile(s.not).MatchString(name) {
			return false, ""
		}
		for _, skip := range why {
			if skip.match.MatchString(name) {
				return true, skip.reason
			}
		}
		return true, ""
	})
	if err == nil && len(cases) == 0 {
		err = errors.Join(fmt.Errorf("no spec matches %q", wanted), runErr)
	}
	return cases, err
}

// ginkgoReport is what is read of ginkgo's report.
type ginkgoReport []struct {
	SpecReports []struct {
		ContainerHierarchyTexts []string
		LeafNodeType            string
		LeafNodeText            string
		State                   string
		RunTime                 time.Duration
		Failure                 struct{ Message string }
	}
}

// readSpecs makes cases of ginkgo's report, which has all that there are. Wanted says which were asked for, and for which reason one of them was
// told not to run.
func readSpecs(content []byte, wanted func(name string) (asked bool, reason string)) (cases []testCase, err error) {
	var reports ginkgoReport
	if err := json.Unmarshal(content, &reports); err != nil {
		return nil, fmt.Errorf("reading ginkgo's report: %w", err)
	}
	for _, report := range reports {
		for _, spec := range report.SpecReports {
			name := strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " ")
			found := testCase{name: name, reason: spec.Failure.Message, took: spec.RunTime}
			if spec.LeafNodeType != "It" {
				// What is around the specs is told of where it fails: then they have not run.
				if spec.State == "failed" {
					found.name, found.verdict = spec.LeafNodeType, failed
					cases = append(cases, found)
				}
				continue
			}
			asked, reason := wanted(name)
			if !asked {
				continue
			}
			switch spec.State {
			case "passed":
				found.verdict = passed
			case "skipped", "pending":
				found.verdict = skipped
				if found.reason == "" {
					found.reason = reason
				}
				if found.reason == "" {
					found.verdict, found.reason = missed, "the run ended before"
				}
			default: // failed, panicked, timedout, interrupted, aborted
				found.verdict = failed
				found.reason = spec.State + ": " + found.reason
			}
			cases = append(cases, found)
		}
	}
	return cases, nil
}
