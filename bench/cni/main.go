// Command cni measures how long pods wait for their network: ADD and DEL of Warren's plugin and agent against those of the reference
// plugins ptp and host-local, all called by the same cnitool on the same disk. It prints a table and writes bench/out/cni.json.
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
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/bench/report"
	"github.com/warren-mesh/warren/e2e/lab"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what can be told on the command line.
type options struct {
	alone, rounds int
	out           string
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
		fmt.Fprintf(stderr, "cni: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("cni", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.alone, "alone", 100, "how many pods come and go one at a time")
	fs.IntVar(&o.rounds, "rounds", 5, "how often 50 pods come and go at once")
	fs.StringVar(&o.out, "out", "", "folder of the JSON file (default bench/out in the repository)")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.alone < 1 || o.rounds < 1 {
		return o, errors.New("--alone and --rounds: want at least 1")
	}
	return o, nil
}

// bench measures and reports. Progress goes to stderr.
func bench(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	root, err := lab.Repository()
	if err != nil {
		return err
	}
	if o.out == "" {
		o.out = filepath.Join(root, "bench", "out")
	}
	s, err := newScene(ctx, root, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r := &report.Report{Name: "cni", Setting: map[string]string{
		"processors": strconv.Itoa(runtime.NumCPU()), "kernel": report.Kernel(), "plugins": pluginsVersion, "cnitool": cniVersion,
		"pods alone": strconv.Itoa(o.alone), "rounds of 50 at once": strconv.Itoa(o.rounds),
	}}
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
	fmt.Fprintf(stdout, "\nBaseline: ptp with host-local, IPv4, no masquerading. Times are cnitool's, from its start to its end.\n"+
		"All samples are in %s.\n", path)
	return nil
}
