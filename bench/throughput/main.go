// Command throughput measures pods that talk through Warren against the same WireGuard implementation configured by hand, side by
// side in one lab. It prints a table and writes bench/out/throughput.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/bench/report"
	"github.com/warren-mesh/warren/e2e/lab"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what can be told on the command line.
type options struct {
	rounds   int
	duration time.Duration
	only     string
	out      string
}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = bench(ctx, o, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "throughput: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("throughput", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.rounds, "rounds", 21, "how often each thing is measured on each path")
	fs.DurationVar(&o.duration, "duration", time.Second, "how long one measurement takes, in whole seconds")
	fs.StringVar(&o.only, "only", "", "measure only what matches this regular expression, such as 'TCP|latency'")
	fs.StringVar(&o.out, "out", "", "folder of the JSON file (default bench/out in the repository)")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
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
	if o.out == "" {
		root, err := lab.Repository()
		o.out = filepath.Join(root, "bench", "out")
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

// bench measures and reports. Progress goes to stderr.
func bench(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	s, err := newScene(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := &report.Report{Name: "throughput", Setting: s.setting(o)}
	if r.Metrics, err = s.measure(ctx, o, stderr); err != nil {
		return err
	}
	path, err := r.Save(o.out)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	if err := r.Table(stdout); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nWarren: pod to pod through Warren, each pod on a node of its own.\n"+
		"%s: WireGuard configured by hand, between the two nodes' own namespaces.\n"+
		"%s: the same, between pods behind those nodes: veth and routes, no rules.\n"+
		"All samples are in %s.\n", bare, pods, path)
	return nil
}
