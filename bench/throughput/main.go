// Command throughput measures pods that talk through Warren against the same WireGuard implementation configured by hand, side by
// side in one lab. It prints a table and writes bench/out/throughput.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/warren-mesh/warren/bench/command"
	"github.com/warren-mesh/warren/bench/report"
)

func main() {
	var o options
	os.Exit(command.Run("throughput", &o, func(ctx context.Context, p command.Place) error { return bench(ctx, o, p) }))
}

// options are what can be told on the command line.
type options struct {
	rounds   int
	duration time.Duration
	only     string
	noPolicy bool
}

// AddFlags implements command.Options.
func (o *options) AddFlags(fs *flag.FlagSet) {
	fs.IntVar(&o.rounds, "rounds", 21, "how often each thing is measured on each path")
	fs.DurationVar(&o.duration, "duration", time.Second, "how long one measurement takes, in whole seconds")
	fs.BoolVar(&o.noPolicy, "no-policy", false, "run the agents with --policy=false")
	fs.StringVar(&o.only, "only", "", "measure only what matches this regular expression, such as 'TCP|latency'")
}

// Validate implements command.Options.
func (o *options) Validate() error {
	var errs []error
	if o.rounds < 1 {
		errs = append(errs, fmt.Errorf("--rounds %d: want at least 1", o.rounds))
	}
	if o.duration < time.Second || o.duration%time.Second != 0 {
		errs = append(errs, fmt.Errorf("--duration %s: want whole seconds, at least 1s", o.duration))
	}
	if _, err := regexp.Compile(o.only); err != nil {
		errs = append(errs, fmt.Errorf("--only: %w", err))
	}
	return errors.Join(errs...)
}

// bench measures and reports.
func bench(ctx context.Context, o options, p command.Place) (err error) {
	s, err := newScene(ctx, o, p.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := &report.Report{Name: "throughput", Setting: s.setting(o)}
	if r.Metrics, err = s.measure(ctx, o, p.Stderr); err != nil {
		return err
	}
	path, err := r.Save(p.Out)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout)
	if err := r.Table(p.Stdout); err != nil {
		return err
	}
	fmt.Fprintf(p.Stdout, "\nWarren: pod to pod through Warren, each pod on a node of its own.\n"+
		"%s: WireGuard configured by hand, between the two nodes' own namespaces.\n"+
		"%s: the same, between pods behind those nodes: veth and routes, no rules.\n"+
		"All samples are in %s.\n", bare, pods, path)
	return nil
}
