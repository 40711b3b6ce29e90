// Command mesh measures one real agent in a cluster of thousands of Nodes: the API server is real, the Nodes are as their kubelets
// make them, and all but one have no machine behind them. It prints a table and writes bench/out/mesh.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/warren-mesh/warren/bench/command"
	"github.com/warren-mesh/warren/bench/report"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == informerCommand {
		// It ends when it is killed.
		if err := watchNodes(context.Background(), os.Args[2], os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "mesh: %v\n", err)
			os.Exit(1)
		}
		return
	}
	var o options
	os.Exit(command.Run("mesh", &o, func(ctx context.Context, p command.Place) error { return bench(ctx, o, p) }))
}

// options are what can be told on the command line.
type options struct {
	// nodes are the numbers of Nodes to measure at, ascending, and typed is how they were given.
	nodes []int
	typed string
	// starts is how often the first sync is measured, and events how often each kind of event is.
	starts, events int
	// idle and stress are how long Nodes' heartbeats are watched, at one in 5 minutes and one in 10 seconds.
	idle, stress time.Duration
	wireguard    string
	brief        bool
}

// AddFlags implements command.Options.
func (o *options) AddFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.typed, "nodes", "100,1000,5000", "numbers of Nodes to measure at, comma-separated")
	fs.IntVar(&o.starts, "starts", 3, "how often the first sync is measured")
	fs.IntVar(&o.events, "events", 40, "how often each kind of event is measured")
	fs.DurationVar(&o.idle, "idle", 100*time.Second, "how long to watch heartbeats, one in 5 minutes from each Node")
	fs.DurationVar(&o.stress, "stress", 30*time.Second, "how long to watch heartbeats, one in 10 seconds from each Node")
	fs.StringVar(&o.wireguard, "wireguard", "auto", "the agent's --wireguard")
	fs.BoolVar(&o.brief, "short", false, "only see that it works: 100 Nodes, some seconds; no figure of it counts")
}

// Validate implements command.Options.
func (o *options) Validate() error {
	var errs []error
	var err error
	if o.nodes, err = command.Numbers("nodes", o.typed, 1, maxFleet); err != nil {
		errs = append(errs, err)
	}
	if o.starts < 1 || o.events < 1 {
		errs = append(errs, errors.New("-starts and -events: want at least 1"))
	}
	if o.brief { // enough to see that everything works
		o.nodes, o.starts, o.events, o.idle, o.stress = []int{100}, 1, 3, 3*time.Second, 3*time.Second
	}
	return errors.Join(errs...)
}

// bench measures at every scale in one cluster, smallest first, and reports.
func bench(ctx context.Context, o options, p command.Place) (err error) {
	s, err := newScene(ctx, o, p.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, n := range o.nodes {
		if err := s.measure(ctx, n); err != nil {
			return fmt.Errorf("measuring at %d nodes: %w", n, err)
		}
	}
	s.compareScales()
	path, err := report.Save(p.Out, "mesh", s.report)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout)
	if err := s.report.table(p.Stdout); err != nil {
		return err
	}
	fmt.Fprintf(p.Stdout, "\nAll figures are in %s.\n", path)
	return nil
}
