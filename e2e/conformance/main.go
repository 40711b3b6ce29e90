// Command conformance has others' test suites judge Warren, on a cluster of real kubelets on which its manifests installed it: Kubernetes' own specs
// of sig-network, the conformance suite of the network-policy-api, and cyclonus. It writes what they found to docs/conformance.md.
//
// It fails if a case failed. A case is skipped where it says so itself, or where [skips] names the reason.
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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/e2e/cluster"
	"github.com/warren-mesh/warren/e2e/lab"
)

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o := options{out: os.Stdout}
	if err := o.parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprintln(os.Stderr, "conformance:", err)
		return 2
	}
	if err := o.judge(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		return 1
	}
	return 0
}

// options are what a run can be told.
type options struct {
	suites []suite
	focus  string
	quick  bool
	name   string
	nodes  int
	procs  int
	atOnce int
	within time.Duration
	report string
	out    io.Writer
}

func (o *options) parse(args []string) error {
	var names string
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	fs.StringVar(&names, "suites", strings.Join(suiteNames(), ","), "which suites, of these")
	fs.StringVar(&o.focus, "focus", "", "only cases that match this regular expression (cyclonus: that have one of these tags); nothing is written then")
	fs.BoolVar(&o.quick, "quick", false, "only a few cases of each suite; nothing is written then")
	fs.StringVar(&o.name, "name", "conformance", "name of the cluster; another one for a second run at the same time")
	fs.IntVar(&o.nodes, "nodes", 2, "nodes of the cluster")
	fs.IntVar(&o.procs, "procs", 2, "specs of Kubernetes that run at the same time")
	fs.IntVar(&o.atOnce, "at-once", 1, "suites that run at the same time, on a machine with cores to spare")
	fs.DurationVar(&o.within, "within", 2*time.Hour, "how long each suite may take")
	fs.StringVar(&o.report, "report", "docs/conformance.md", "file in the repository to write")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("argument %q: there are only flags", fs.Arg(0))
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("-suites %q: want some of %s", name, strings.Join(suiteNames(), ","))
		}
		o.suites = append(o.suites, suites[i])
	}
	if o.focus != "" && (len(o.suites) > 1 || o.quick) {
		return errors.New("-focus is of one suite: name it by -suites, without -quick")
	}
	if o.nodes < 2 || o.procs < 1 || o.atOnce < 1 {
		return fmt.Errorf("-nodes %d, -procs %d, -at-once %d: want at least 2, 1 and 1", o.nodes, o.procs, o.atOnce)
	}
	return nil
}

// judge runs the suites on one cluster.
func (o *options) judge(ctx context.Context) (err error) {
	root, err := lab.Repository()
	if err != nil {
		return err
	}
	h := &house{root: root, dir: filepath.Join(root, ".cache", "conformance"), options: o}
	if err := h.build(ctx); err != nil {
		return err
	}
	crd, err := h.policyCRD(ctx)
	if err != nil {
		return err
	}
	h.cluster, err = cluster.Start(ctx, cluster.Options{
		Name: o.name, Nodes: o.nodes, Families: lab.Dual, Manifests: []string{crd, h.path("warren.yaml")},
		Images: []string{h.path("tools.tar"), h.path("busybox.tar"), h.path("coredns.tar"), h.path("regression-issue-74839.tar")}, Out: o.out,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.cluster.Close()) }()
	if err := h.prepare(ctx); err != nil {
		return err
	}
	errs := make([]error, len(o.suites))
	var group errgroup.Group
	group.SetLimit(o.atOnce)
	for i, s := range o.suites {
		group.Go(func() error {
			if ctx.Err() == nil {
				errs[i] = h.judge(ctx, s)
			}
			return nil // what one finds is no reason to end the others
		})
	}
	_ = group.Wait() // as above
	return errors.Join(errors.Join(errs...), ctx.Err())
}

// judge runs one suite and writes what it found.
func (h *house) judge(ctx context.Context, s suite) error {
	ctx, cancel := context.WithTimeout(ctx, h.options.within)
	defer cancel()
	fmt.Fprintf(h.options.out, "==> %s\n", s.title)
	in := &room{house: h, dir: filepath.Join(h.dir, "runs", s.name)}
	if err := os.MkdirAll(in.dir, 0o755); err != nil { //nolint:gosec // logs, without secrets
		return err
	}
	result := result{suite: s, begun: time.Now(), setting: h.setting(ctx, s)}
	var err error
	result.cases, err = s.run(ctx, in)
	result.took = time.Since(result.begun)
	if err := errors.Join(err, context.Cause(ctx)); err != nil {
		result.broken = err.Error()
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	result.print(h.options.out)
	if h.options.focus == "" && !h.options.quick {
		if err := result.write(filepath.Join(h.root, h.options.report)); err != nil {
			return err
		}
	}
	return result.err()
}
