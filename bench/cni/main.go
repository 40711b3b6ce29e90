// Command cni measures how long pods wait for their network: ADD and DEL of Warren's plugin and agent against those of the reference
// plugins ptp and host-local, all called by the same cnitool on the same disk. It prints a table and writes bench/out/cni.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"github.com/warren-mesh/warren/bench/command"
	"github.com/warren-mesh/warren/bench/report"
	"github.com/warren-mesh/warren/e2e/lab"
)

func main() {
	var o options
	os.Exit(command.Run("cni", &o, func(ctx context.Context, p command.Place) error { return bench(ctx, o, p) }))
}

// options are what can be told on the command line.
type options struct{ alone, rounds int }

// AddFlags implements command.Options.
func (o *options) AddFlags(fs *flag.FlagSet) {
	fs.IntVar(&o.alone, "alone", 200, "how many pods come and go one at a time")
	fs.IntVar(&o.rounds, "rounds", 5, "how often 50 pods come and go at once")
}

// Validate implements command.Options.
func (o *options) Validate() error {
	if o.alone < 1 || o.rounds < 1 {
		return errors.New("--alone and --rounds: want at least 1")
	}
	return nil
}

// bench measures and reports.
func bench(ctx context.Context, o options, p command.Place) (err error) {
	s, err := newScene(ctx, p.Root, p.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r := &report.Report{Name: "cni", Setting: map[string]string{
		"processors": strconv.Itoa(runtime.NumCPU()), "kernel": report.Kernel(), "plugins": lab.CNIPluginsVersion, "cnitool": lab.CNIToolVersion,
		"pods alone": strconv.Itoa(o.alone), "rounds of 50 at once": strconv.Itoa(o.rounds),
	}}
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
	fmt.Fprintf(p.Stdout, "\nBaseline: ptp with host-local, IPv4, no masquerading. Times are cnitool's, from its start to its end.\n"+
		"All samples are in %s.\n", path)
	return nil
}
