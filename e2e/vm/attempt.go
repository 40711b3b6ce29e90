package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
	"github.com/warren-mesh/warren/e2e/lab/pace"
	"github.com/warren-mesh/warren/e2e/vm/job"
)

// emulationFactor is what the bars of time are multiplied by under emulation: an API server's answer and an agent's work take so
// much longer there. Bars of loss and of what leaks stay.
const emulationFactor = 5

// The ways to run a machine. One thread for all its processors is slower.
const (
	kvm       = "kvm"
	tcg       = "tcg"
	tcgSingle = "tcg-single"
)

// attempts are how to run the machine, in this order, for as long as it does not come up or the emulation breaks it. With a thread for
// each processor QEMU at times runs a breakpoint (int3) that the guest's kernel set while it patched itself and has taken away since, and
// the kernel panics (https://bugzilla.redhat.com/show_bug.cgi?id=2216496). With one thread for all there is nobody to race with.
func attempts(ctx context.Context, accel string, out io.Writer) []string {
	switch {
	case accel != "":
		return []string{accel}
	case kvmWorks(ctx, out):
		return []string{kvm, tcg, tcgSingle}
	}
	return []string{tcg, tcgSingle}
}

// virtualizes matches what Linux says of a processor that can run guests.
var virtualizes = regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`)

// kvmWorks says whether a machine with KVM starts here, and prints why not.
func kvmWorks(ctx context.Context, out io.Writer) bool {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	_ = device.Close() // it was only tried
	// Some machines that are virtual have the device for guests of a kind that Debian's kernel is not: it never gets up.
	processor, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !virtualizes.Match(processor) {
		fmt.Fprintln(out, "KVM does not work here: the processor has no virtualization (vmx, svm)")
		return false
	}
	_, err = command(ctx, "timeout", "20", "sh", "-c", "echo quit | qemu-system-x86_64 -accel kvm -cpu max -nodefaults -display none -S -monitor stdio")
	if err != nil {
		fmt.Fprintln(out, "KVM does not work here:", err)
	}
	return err == nil
}

// attempt makes the machine's files and boots it once.
func attempt(ctx context.Context, o options, k kernel, jobs []job.Job, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "warren-vm-")
	if err != nil {
		return fmt.Errorf("making temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files := files{dir: dir, kernel: k, setup: job.Setup{Jobs: slices.Clone(jobs)}}
	m := machine{dir: dir, kernel: k.image, initrd: filepath.Join(dir, "initrd"), timeout: o.timeout, memory: plainMemory, out: out}
	if slices.ContainsFunc(jobs, hasLabs) {
		if files.programs, err = assets.Ensure(ctx, out); err != nil {
			return err
		}
		m.memory = labMemory
		if o.accel != kvm {
			host, startErr := startOutsider(ctx, files.programs, dir)
			if startErr != nil {
				return startErr
			}
			defer func() { err = errors.Join(err, host.Close()) }()
			files.setup.Host, m.network = &job.Host{Port: host.port(), Token: host.token}, true
			fmt.Fprintf(out, "emulation: the control plane is outside, and bars of time are multiplied by %d; bars of loss and leaks are not\n", emulationFactor)
		}
	}
	if slices.ContainsFunc(jobs, isClusters) {
		if files.nodePrograms, err = assets.EnsureNodes(ctx, out); err != nil {
			return err
		}
		m.memory = clusterMemory
	}
	for i := range files.setup.Jobs {
		if j := &files.setup.Jobs[i]; hasLabs(*j) {
			j.Env = labEnv
			if o.accel != kvm {
				emulate(j, o)
			}
		}
	}
	if err := files.write(ctx, m.initrd); err != nil {
		return fmt.Errorf("making the machine's files: %w", err)
	}
	return m.boot(ctx, o.accel, names(jobs))
}

// emulate makes a job with labs one that emulation can do.
func emulate(j *job.Job, o options) {
	j.Env = append(slices.Clone(j.Env), pace.Variable+"="+strconv.Itoa(emulationFactor))
	if j.Package != scenarios {
		return
	}
	j.Args = append(slices.Clone(j.Args), "-chaos.faults="+strconv.Itoa(chaosFaults))
	if !o.short && o.run == "" {
		j.Args = append(j.Args, "-test.skip="+slow)
	}
}

func isClusters(j job.Job) bool { return j.Package == clusters }

// hasLabs says whether a package's tests have labs, or clusters, which are made of them.
func hasLabs(j job.Job) bool { return j.Package == scenarios || isClusters(j) }

func names(jobs []job.Job) []string {
	var all []string
	for _, j := range jobs {
		all = append(all, j.Package)
	}
	return all
}
