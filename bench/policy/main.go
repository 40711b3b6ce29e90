// Command policy measures what an event costs the policy's core, from the event to what the kernel has to be told, in clusters of up to
// 100,000 pods and 10,000 policies. It prints a table and writes bench/out/policy.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/warren-mesh/warren/bench/command"
	"github.com/warren-mesh/warren/bench/policy/cluster"
	"github.com/warren-mesh/warren/bench/report"
)

func main() {
	var o options
	os.Exit(command.Run("policy", &o, func(ctx context.Context, p command.Place) error { return bench(ctx, o, p) }))
}

// options are what can be told on the command line.
type options struct {
	// pods are the numbers of pods to measure at, ascending, and typed is how they were given.
	pods  []int
	typed string
	// rounds is how often everything is measured, and events how often each kind of event is in a round.
	rounds, events int
	brief          bool
}

// AddFlags implements command.Options.
func (o *options) AddFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.typed, "pods", "1000,10000,100000", "numbers of pods to measure at, comma-separated; the smallest is the baseline")
	fs.IntVar(&o.rounds, "rounds", 5, "how often everything is measured")
	fs.IntVar(&o.events, "events", 400, "how often each kind of event is measured in a round")
	fs.BoolVar(&o.brief, "short", false, "only see that it works: 1000 and 2000 pods; no figure of it counts")
}

// Validate implements command.Options.
func (o *options) Validate() error {
	var errs []error
	var err error
	if o.pods, err = command.Numbers("pods", o.typed, cluster.MinPods, cluster.MaxPods); err != nil {
		errs = append(errs, err)
	}
	if o.rounds < 1 {
		errs = append(errs, fmt.Errorf("-rounds %d: want at least 1", o.rounds))
	}
	if o.events < 10 || o.events > cluster.MinPods {
		errs = append(errs, fmt.Errorf("-events %d: want a number from 10 to %d", o.events, cluster.MinPods))
	}
	if o.brief { // enough to see that everything works
		o.pods, o.rounds, o.events = []int{1000, 2000}, 1, 20
	}
	return errors.Join(errs...)
}

// bench measures at every scale beside the smallest, and reports.
func bench(ctx context.Context, o options, p command.Place) error {
	r := &report.Report{Name: "policy", Setting: setting(o)}
	for _, n := range o.pods {
		fmt.Fprintf(p.Stderr, "policy: %d pods\n", n)
		metrics, err := measure(ctx, o, n)
		if err != nil {
			return fmt.Errorf("measuring at %d pods: %w", n, err)
		}
		r.Metrics = append(r.Metrics, metrics...)
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
