// Command generate has the pods of the cluster of KUBECONFIG judged by the cases that cyclonus generates, as `cyclonus generate` does, with two
// differences: each pod's probes go to it in one batch, for which that command has no flag, and what becomes of each case is written as it is known.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattfenwick/cyclonus/pkg/connectivity"
	"github.com/mattfenwick/cyclonus/pkg/connectivity/probe"
	"github.com/mattfenwick/cyclonus/pkg/generator"
	"github.com/mattfenwick/cyclonus/pkg/kube"
	v1 "k8s.io/api/core/v1"
)

func main() {
	var o options
	var include string
	flag.StringVar(&o.out, "out", "", "file for a line of JSON a case when the cases are known, and another when one has ended")
	flag.StringVar(&include, "include", "", "only cases that have one of these tags")
	flag.IntVar(&o.first, "first", 0, "only so many cases")
	flag.BoolVar(&o.sctp, "sctp", true, "nodes have sockets of SCTP")
	flag.Parse()
	if include != "" {
		o.include = strings.Split(include, ",")
	}
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

type options struct {
	out     string
	include []string
	first   int
	sctp    bool
}

// Case is a line of the file.
type Case struct {
	Name    string  `json:"name"`
	State   string  `json:"state"` // planned, sctp, passed, failed
	Reason  string  `json:"reason,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
}

// What cyclonus has by default.
var (
	namespaces = []string{"x", "y", "z"}
	pods       = []string{"a", "b", "c"}
	ports      = []int{80, 81}
)

// ignoreLoopback leaves out what a pod sends to itself: Kubernetes says that a pod cannot block that, and cyclonus expects that it does.
const ignoreLoopback = true

// patience is how long pods may take to run, in seconds.
const patience = 300

func (o options) run() error {
	if err := generator.ValidateTags(o.include); err != nil {
		return err
	}
	file, err := os.Create(o.out)
	if err != nil {
		return err
	}
	defer file.Close()
	out := json.NewEncoder(file)
	cluster, err := kube.NewKubernetesForContext("")
	if err != nil {
		return err
	}
	protocols := []v1.Protocol{v1.ProtocolTCP, v1.ProtocolUDP}
	if o.sctp {
		protocols = append(protocols, v1.ProtocolSCTP)
	}
	resources, err := probe.NewDefaultResources(cluster, namespaces, pods, ports, protocols, nil, patience, true, "")
	if err != nil {
		return err
	}
	zc, err := resources.GetPod("z", "c")
	if err != nil {
		return err
	}
	cases := generator.NewTestCaseGenerator(true, zc.IP, namespaces, o.include, nil).GenerateTestCases()
	if o.first > 0 {
		cases = cases[:min(o.first, len(cases))]
	}
	names := make([]string, len(cases))
	for i, c := range cases {
		names[i] = fmt.Sprintf("%d: %s", i+1, c.Description)
		if err := out.Encode(Case{Name: names[i], State: "planned"}); err != nil {
			return err
		}
	}
	interpreter := connectivity.NewInterpreter(cluster, resources, &connectivity.InterpreterConfig{
		ResetClusterBeforeTestCase: true, VerifyClusterStateBeforeTestCase: true, KubeProbeRetries: 3, PerturbationWaitSeconds: 1, BatchJobs: true,
		IgnoreLoopback: ignoreLoopback,
	})
	var errs []error
	for i, c := range cases {
		judged := o.judge(interpreter, c)
		judged.Name = names[i]
		errs = append(errs, out.Encode(judged))
	}
	for _, namespace := range namespaces {
		errs = append(errs, cluster.DeleteNamespace(namespace))
	}
	return errors.Join(errs...)
}

// judge runs a case between pods' own addresses: names and services' addresses are not the policies' matter.
func (o options) judge(interpreter *connectivity.Interpreter, c *generator.TestCase) Case {
	if !o.sctp && slices.Contains(c.Tags.Keys(), generator.TagSCTPProtocol) {
		return Case{State: "sctp"}
	}
	for _, step := range c.Steps {
		step.Probe.Mode = generator.ProbeModePodIP
	}
	begun := time.Now()
	result := interpreter.ExecuteTestCase(c)
	judged := Case{State: "passed", Seconds: time.Since(begun).Seconds()}
	if result.Err != nil {
		judged.State, judged.Reason = "failed", result.Err.Error()
		return judged
	}
	for i, step := range result.Steps {
		if step.Passed(ignoreLoopback) {
			continue
		}
		wrong := step.LastComparison().ValueCounts(ignoreLoopback)[connectivity.DifferentComparison]
		judged.State, judged.Reason = "failed", fmt.Sprintf("step %d: of 72 pairs of pods %d differ from what cyclonus expects", i+1, wrong)
		fmt.Printf("%s, step %d:\nwant\n%s\ngot\n%s\n", c.Description, i+1, step.SimulatedProbe.RenderTable(), step.LastKubeProbe().RenderTable())
		break
	}
	return judged
}
