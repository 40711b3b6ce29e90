// Command policy measures policy at scale: what an event costs from when it is heard of to when the kernel holds what follows from it, in clusters of
// up to 100,000 pods and 10,000 policies; what packets pay for the policies that there are; and what one change costs against the nft command. It needs
// root, prints a table and writes bench/out/policy.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"github.com/warren-mesh/warren/bench/command"
	"github.com/warren-mesh/warren/bench/policy/cluster"
	"github.com/warren-mesh/warren/bench/report"
)

func main() {
	if isWorker(os.Args) {
		if err := work(context.Background(), os.Args, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "policy: %v\n", err)
			os.Exit(1)
		}
		return
	}
	var o options
	os.Exit(command.Run("policy", &o, func(ctx context.Context, p command.Place) error { return bench(ctx, o, p) }))
}

// options are what can be told on the command line.
type options struct {
	// pods are the numbers of pods to measure at, ascending, and policies those of policies that packets meet.
	pods, policies           []int
	typedPods, typedPolicies string
	// rounds is how often everything but packets is measured, events how often each kind of event is in a round, and changes how often an
	// nft command is.
	rounds, events, changes int
	// packetRounds is how often packets are sent on each node, and duration for how long.
	packetRounds int
	duration     time.Duration
	// agentPods is how many Pods a real agent is held against; 0 leaves it out.
	agentPods int
	only      string
	brief     bool
}

// AddFlags implements command.Options.
func (o *options) AddFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.typedPods, "pods", "1000,10000,100000", "numbers of pods, and of a set's members, to measure at, comma-separated; the smallest is the baseline")
	fs.StringVar(&o.typedPolicies, "policies", "100,10000", "numbers of policies to send packets by, comma-separated; the baseline is none")
	fs.IntVar(&o.rounds, "rounds", 5, "how often everything but packets is measured")
	fs.IntVar(&o.events, "events", 400, "how often each kind of event is measured in a round")
	fs.IntVar(&o.changes, "changes", 100, "how often the nft command is run in a round")
	fs.IntVar(&o.packetRounds, "packet-rounds", 31, "how often packets are sent on each node")
	fs.DurationVar(&o.duration, "duration", 500*time.Millisecond, "for how long packets are sent each time")
	fs.IntVar(&o.agentPods, "agent-pods", 10000, "how many Pods a real API server tells a real agent of; 0 leaves that out")
	fs.StringVar(&o.only, "only", "", "measure only the parts that match this regular expression: events, elements, packets, agent")
	fs.BoolVar(&o.brief, "short", false, "only see that it works: 1000 and 2000 pods, no agent; no figure of it counts")
}

// Validate implements command.Options.
func (o *options) Validate() error {
	var errs []error
	var err error
	if o.pods, err = command.Numbers("pods", o.typedPods, cluster.MinPods, cluster.MaxPods); err != nil {
		errs = append(errs, err)
	}
	if o.policies, err = command.Numbers("policies", o.typedPolicies, perNamespace, maxPolicies); err != nil {
		errs = append(errs, err)
	}
	if o.rounds < 1 || o.packetRounds < 1 || o.changes < 1 {
		errs = append(errs, errors.New("-rounds, -packet-rounds and -changes: want at least 1"))
	}
	if o.events < 10 || o.events > cluster.MinPods {
		errs = append(errs, fmt.Errorf("-events %d: want a number from 10 to %d", o.events, cluster.MinPods))
	}
	if o.duration < time.Millisecond {
		errs = append(errs, fmt.Errorf("-duration %s: want at least 1ms", o.duration))
	}
	if o.agentPods != 0 && (o.agentPods < cluster.MinPods || o.agentPods > cluster.MaxPods) {
		errs = append(errs, fmt.Errorf("-agent-pods %d: want 0, or a number from %d to %d", o.agentPods, cluster.MinPods, cluster.MaxPods))
	}
	if _, err := regexp.Compile(o.only); err != nil {
		errs = append(errs, fmt.Errorf("-only: %w", err))
	}
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("network namespaces and nftables need root"))
	}
	if o.brief { // enough to see that everything works
		o.pods, o.policies, o.rounds, o.events, o.changes = []int{1000, 2000}, []int{100, 1000}, 1, 10, 10
		o.packetRounds, o.duration, o.agentPods = 1, 200*time.Millisecond, 0
	}
	return errors.Join(errs...)
}

// maxPolicies are more than a node ever has to do with.
const maxPolicies = 100000

// bench measures every part, and reports.
func bench(ctx context.Context, o options, p command.Place) error {
	only := regexp.MustCompile(o.only) // Validate has compiled it.
	r := &report.Report{Name: "policy", Setting: setting(o)}
	for _, part := range []struct {
		name    string
		measure func(context.Context, options, *report.Report, io.Writer) error
	}{{"events", measureScales}, {"elements", measureElements}, {"packets", measurePackets}, {"agent", measureAgent}} {
		if !only.MatchString(part.name) {
			continue
		}
		if err := part.measure(ctx, o, r, p.Stderr); err != nil {
			return fmt.Errorf("measuring %s: %w", part.name, err)
		}
	}
	for i := range r.Metrics {
		if err := r.Metrics[i].Complete(); err != nil {
			return err
		}
	}
	path, err := r.Save(p.Out)
	if err != nil {
		return err
	}
	if err := r.Table(p.Stdout); err != nil {
		return err
	}
	fmt.Fprintf(p.Stdout, "\nAll figures are in %s.\n", path)
	return nil
}

func setting(o options) map[string]string {
	return map[string]string{
		"processors": strconv.Itoa(runtime.NumCPU()), "kernel": report.Kernel(), "go": runtime.Version(),
		"cluster": "100 pods and 10 NetworkPolicies a namespace, 20 ClusterNetworkPolicies, 110 pods on the node, dual stack",
		"events":  fmt.Sprintf("%d rounds of %d of each kind, one at a time; from when the loop is told to when the transaction is acknowledged", o.rounds, o.events),
		"packets": fmt.Sprintf("%d rounds of %s on each node in turn, every second one backwards; 10 policies are of the two pods' namespace, the others of other pods' on the node",
			o.packetRounds, o.duration),
	}
}
