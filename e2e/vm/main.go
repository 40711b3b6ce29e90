// Command vm runs the tests of the packages that drive the kernel, and the scenarios of e2e with whole labs, as root on a stock Debian
// kernel, which has WireGuard, in a virtual machine. It prints every test that ran and every skip with its reason, and fails where
// one fails, none ran, the kernel panicked or the time is over.
//
// Where there is KVM everything is inside the machine. Under emulation the control plane of the scenarios' labs runs outside, in
// namespaces of this machine, and their bars of time, never those of loss and leaks, are multiplied by a factor that is printed.
//
// With -clocks it makes a cluster of two machines instead, for what a node's own clock does: namespaces share one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	short   bool
	kernel  string
	accel   string
	run     string
	cache   string
	timeout time.Duration
	clocks  bool
}

func main() {
	os.Exit(run())
}

func run() int {
	var o options
	flag.BoolVar(&o.short, "short", false, "only the telling tests")
	flag.StringVar(&o.kernel, "kernel", "", "Debian `package` of the kernel (the archive's newest cloud kernel)")
	flag.StringVar(&o.accel, "accel", "", "kvm, tcg, which is emulation, or tcg-single, which is the same in one thread (kvm where it works, else tcg)")
	flag.StringVar(&o.run, "run", "", "only the tests that match this `regexp`")
	flag.StringVar(&o.cache, "cache", ".cache/vm", "`folder` for kernels")
	flag.DurationVar(&o.timeout, "timeout", 20*time.Minute, "when to end the machine")
	flag.BoolVar(&o.clocks, "clocks", false, "instead of tests: two machines that are nodes, one of whose clocks steps back")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := test(ctx, o, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		return 1
	}
	return 0
}

// test runs the packages, by default all of the suite, and prints to out.
func test(ctx context.Context, o options, packages []string, out io.Writer) (err error) {
	jobs, err := choose(o, packages)
	if err != nil {
		return err
	}
	k, err := fetchKernel(ctx, o.cache, o.kernel, out)
	if err != nil {
		return err
	}
	for _, o.accel = range attempts(ctx, o.accel, out) {
		if o.clocks {
			err = clocks(ctx, o, k, out)
		} else {
			err = attempt(ctx, o, k, jobs, out)
		}
		if !errors.Is(err, errNotUp) && !errors.Is(err, errEmulation) {
			return err
		}
		fmt.Fprintln(out, err)
	}
	return err
}
