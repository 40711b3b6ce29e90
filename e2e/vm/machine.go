package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/e2e/vm/job"
)

// machine is a virtual machine that runs the jobs of its files and ends.
type machine struct {
	dir            string // for its logs
	kernel, initrd string
	timeout        time.Duration
	// memory is in MiB.
	memory int
	// network gives it a way to this machine's loopback address.
	network bool
	// node is its name where it is a node of a cluster, and cable QEMU's -netdev that joins it to the other one.
	node, cable string
	out         io.Writer
}

// bootTimeouts are how long a kernel may take until its first process speaks: ten times what it takes on an idle machine. A KVM that is itself
// emulated may stop at an instruction that it does not know, and then QEMU only waits.
var bootTimeouts = map[string]time.Duration{kvm: 45 * time.Second, tcg: 4 * time.Minute, tcgSingle: 8 * time.Minute}

const (
	// excerptSize is how much of the kernel's log is shown where something went wrong, in bytes.
	excerptSize = 6 << 10
	// plainMemory is enough for tests, labMemory for labs with a control plane, clusterMemory for nodes that unpack images, in MiB. The whole root is in it.
	plainMemory, labMemory, clusterMemory = 1536, 6144, 12288
)

var (
	// errNotUp says that the guest's first process never spoke.
	errNotUp = errors.New("the virtual machine did not start")
	// errEmulation says that the emulator broke the guest's kernel: it ran a breakpoint that the kernel had set while it patched itself,
	// and had taken away again.
	errEmulation = errors.New("QEMU's emulation lost the race in which the kernel patches itself")
)

// boot runs the machine and checks what it reports, with KVM or by emulation.
func (m machine) boot(ctx context.Context, accel string, packages []string) error {
	fmt.Fprintf(m.out, "booting (%s)\n", accel)
	ctx, cancel := context.WithTimeoutCause(ctx, m.timeout, fmt.Errorf("the machine was ended after %s", m.timeout))
	defer cancel()
	console := filepath.Join(m.dir, "console")
	qemu := m.qemu(ctx, accel, console)
	r := &report{out: m.out, started: time.Now(), packages: map[string]*count{}}
	// The machine cannot wait for its first process for ever: one that hangs there is not up.
	notUp := time.AfterFunc(bootTimeouts[accel], cancel)
	r.onUp = func() { notUp.Stop() }
	said, err := m.watch(qemu, r)
	log, logErr := os.ReadFile(console) //nolint:gosec // our own
	text := string(log)
	switch {
	case !r.up:
		return fmt.Errorf("%w: %w: %s %s", errNotUp, err, said, excerpt(text))
	case broken(text):
		return brokenError(accel, text)
	case ctx.Err() != nil:
		return fmt.Errorf("%w; the kernel said: %s", context.Cause(ctx), excerpt(text))
	case err != nil || logErr != nil:
		return errors.Join(err, logErr)
	}
	return r.check(packages)
}

// qemu is the machine's command. Its serial ports are the console, a file, and the files 3 and 4.
func (m machine) qemu(ctx context.Context, accel, console string) *exec.Cmd {
	how := map[string]string{kvm: "kvm", tcg: "tcg,thread=multi,tb-size=256", tcgSingle: "tcg,thread=single,tb-size=256"}[accel]
	c := exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "pc", "-accel", how, "-cpu", "max", "-smp", "2", "-m", strconv.Itoa(m.memory), //nolint:gosec // our words
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", m.kernel, "-initrd", m.initrd,
		"-append", "console=ttyS0 loglevel=4 panic=-1 oops=panic tsc=reliable no_timer_check nowatchdog mitigations=off audit=0 rdinit=/init "+m.environment(),
		"-serial", "file:"+console, "-serial", "file:/dev/fd/3", "-serial", "file:/dev/fd/4")
	if m.node != "" {
		c.Args = append(c.Args, "-netdev", m.cable+",id=cable", "-device", "virtio-net-pci,netdev=cable,mac=02:57:00:00:00:0"+m.node[len(m.node)-1:])
	}
	if m.network {
		c.Args = append(c.Args, "-nic", "user,model=virtio-net-pci")
	}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.WaitDelay = 5 * time.Second
	return c
}

// environment is what the kernel hands to the first process.
func (m machine) environment() string {
	if m.node == "" {
		return ""
	}
	return job.NodeVariable + "=" + m.node
}

// watch runs the machine to its end while the report reads what it says, and is what qemu itself had to say.
func (m machine) watch(qemu *exec.Cmd, r *report) (said string, err error) {
	var all bytes.Buffer
	qemu.Stdout, qemu.Stderr = &all, &all
	var readers sync.WaitGroup
	for _, read := range []func(io.Reader){r.readOutput, r.readResults} {
		from, to, err := os.Pipe()
		if err != nil {
			return "", err
		}
		qemu.ExtraFiles = append(qemu.ExtraFiles, to)
		readers.Go(func() {
			read(from)
			_ = from.Close() // it is at its end
		})
	}
	// Pdeathsig is about the thread that starts it: one that another goroutine had locked meanwhile, and left, would take the machine along.
	runtime.LockOSThread()
	err = qemu.Run()
	runtime.UnlockOSThread()
	for _, to := range qemu.ExtraFiles {
		_ = to.Close() // and so the readers end
	}
	readers.Wait()
	if err != nil {
		err = fmt.Errorf("running qemu: %w", err)
	}
	return strings.TrimSpace(all.String()), err
}

// serve runs a machine that is a node until ctx ends.
func (m machine) serve(ctx context.Context, accel string) error {
	console := filepath.Join(m.dir, "console")
	r := &report{out: io.Discard, started: time.Now(), onUp: func() {}, packages: map[string]*count{}}
	said, err := m.watch(m.qemu(ctx, accel, console), r)
	log, logErr := os.ReadFile(console) //nolint:gosec // our own
	text := string(log)
	switch {
	case broken(text):
		return fmt.Errorf("%s: %w", m.node, brokenError(accel, text))
	case ctx.Err() != nil:
		return logErr
	}
	return fmt.Errorf("%s ended early: %w: %s %s", m.node, errors.Join(err, logErr), said, excerpt(text))
}

// signs are what a kernel says of itself when it is broken.
var signs = regexp.MustCompile("Kernel panic|BUG:|Oops:|general protection fault")

func broken(console string) bool { return signs.MatchString(console) }

func brokenError(accel, console string) error {
	err := fmt.Errorf("the kernel is broken: %s", excerpt(console))
	if accel == tcg && strings.Contains(console, "int3: 0000") {
		return fmt.Errorf("%w: %w", errEmulation, err)
	}
	return err
}

// excerpt is of the console what explains an end: from shortly before the first sign on, and where there is none the last of it.
func excerpt(console string) string {
	from := max(0, len(console)-excerptSize)
	if sign := signs.FindStringIndex(console); sign != nil {
		from = max(0, sign[0]-excerptSize/4)
	}
	return strings.TrimSpace(console[from:min(len(console), from+excerptSize)])
}
