// Command mesh measures one real agent in a cluster of thousands of Nodes: the API server is real, the Nodes are as their kubelets
// make them, and all but one have no machine behind them. It prints a table and writes bench/out/mesh.json.
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
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/bench/report"
	"github.com/warren-mesh/warren/e2e/lab"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what can be told on the command line.
type options struct {
	// nodes are the numbers of Nodes to measure at, ascending.
	nodes []int
	// starts is how often the first sync is measured, and events how often each kind of event is.
	starts, events int
	// idle and stress are how long Nodes' heartbeats are watched, at one in 5 minutes and one in 10 seconds.
	idle, stress time.Duration
	wireguard    string
	out          string
}

// short is enough to see that everything works.
var short = options{nodes: []int{100}, starts: 1, events: 3, idle: 3 * time.Second, stress: 3 * time.Second}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if len(args) == 2 && args[0] == informerCommand {
		return exit(stderr, watchNodes(ctx, args[1], stdout))
	}
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = bench(ctx, o, stdout, stderr)
	}
	return exit(stderr, err)
}

func exit(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprintf(stderr, "mesh: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var brief bool
	var nodes string
	fs := flag.NewFlagSet("mesh", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&nodes, "nodes", "100,1000,5000", "numbers of Nodes to measure at, comma-separated")
	fs.IntVar(&o.starts, "starts", 3, "how often the first sync is measured")
	fs.IntVar(&o.events, "events", 40, "how often each kind of event is measured")
	fs.DurationVar(&o.idle, "idle", 100*time.Second, "how long to watch heartbeats, one in 5 minutes from each Node")
	fs.DurationVar(&o.stress, "stress", 30*time.Second, "how long to watch heartbeats, one in 10 seconds from each Node")
	fs.StringVar(&o.wireguard, "wireguard", "auto", "the agent's --wireguard")
	fs.StringVar(&o.out, "out", "", "folder of the JSON file (default bench/out in the repository)")
	fs.BoolVar(&brief, "short", false, "only see that it works: 100 Nodes, some seconds; no figure of it counts")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	var errs []error
	for word := range strings.SplitSeq(nodes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 || n > maxFleet {
			errs = append(errs, fmt.Errorf("-nodes %q: want numbers from 1 to %d", word, maxFleet))
		}
		o.nodes = append(o.nodes, n)
	}
	slices.Sort(o.nodes)
	if o.starts < 1 || o.events < 1 {
		errs = append(errs, errors.New("-starts and -events: want at least 1"))
	}
	if o.out == "" {
		root, err := lab.Repository()
		o.out = filepath.Join(root, "bench", "out")
		errs = append(errs, err)
	}
	if brief {
		o.nodes, o.starts, o.events, o.idle, o.stress = short.nodes, short.starts, short.events, short.idle, short.stress
	}
	return o, errors.Join(errs...)
}

// bench measures at every scale in one cluster, smallest first, and reports. Progress goes to stderr.
func bench(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	s, err := newScene(ctx, o, stderr)
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
	path, err := report.Save(o.out, "mesh", s.report)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	if err := s.report.table(stdout); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nAll figures are in %s.\n", path)
	return nil
}
