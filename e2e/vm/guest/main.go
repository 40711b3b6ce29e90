// Command guest is the first process of the virtual machine. It runs the jobs one after the other, writes what they print and
// how they ended to the serial ports, and switches the machine off. Where the machine is a node of a cluster, it does what the host
// says instead.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/vm/job"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err) // the kernel's console
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "guest: switching off:", err)
	}
}

func run() error {
	if err := prepare(); err != nil {
		return err
	}
	output, err := open(job.Output)
	if err != nil {
		return err
	}
	results, err := open(job.Results)
	if err != nil {
		return err
	}
	fmt.Fprintln(results, job.Up)
	list, err := os.ReadFile(job.File)
	if err != nil {
		return err
	}
	var setup job.Setup
	if err := json.Unmarshal(list, &setup); err != nil {
		return err
	}
	if setup.Host != nil {
		if err := relay(*setup.Host); err != nil {
			return fmt.Errorf("making the way to the host: %w", err)
		}
	}
	if setup.Nodes != nil {
		return node(setup.Nodes[os.Getenv(job.NodeVariable)])
	}
	for _, j := range setup.Jobs {
		fmt.Fprintln(results, job.Result{Package: j.Package, Code: do(j, output)})
	}
	return errors.Join(output.Close(), results.Close()) // waits until all is written
}

// do runs a job and is its exit code.
func do(j job.Job, output io.Writer) int {
	c := exec.Command(path.Join(j.Dir, "test"), j.Args...) //nolint:gosec,noctx // our own tests; the machine's end is their bound
	c.Dir, c.Stdout, c.Stderr = j.Dir, output, output
	c.Env = append(os.Environ(), j.Env...)
	fmt.Fprintf(output, "\n%s%s\n", job.Begin, j.Package)
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(output, "starting the tests:", err)
	}
	return c.ProcessState.ExitCode()
}

// prepare mounts what every system has, and sets what every process inherits.
func prepare() error {
	if err := coverRoot(); err != nil {
		return fmt.Errorf("covering the first root: %w", err)
	}
	for _, mount := range [][3]string{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""},
		{"cgroup2", "/sys/fs/cgroup", ""}, {"tmpfs", "/run", "mode=0755"}, {"tmpfs", "/tmp", "mode=1777"},
	} {
		if err := unix.Mount(mount[0], mount[1], mount[0], 0, mount[2]); err != nil {
			return fmt.Errorf("mounting %s: %w", mount[1], err)
		}
	}
	if err := makeDevices(); err != nil {
		return fmt.Errorf("making devices: %w", err)
	}
	for name, value := range map[string]string{"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "TMPDIR": "/tmp"} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	c := exec.Command("ip", "link", "set", "lo", "up") //nolint:noctx // at once
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("setting lo up: %w: %s", err, out)
	}
	return nil
}

// coverRoot mounts the root a second time, above itself: nothing can take the place of the kernel's first one (pivot_root(2)), as nodes and containers do.
func coverRoot() error {
	const covered = "/root"
	if err := unix.Mount("/", covered, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := unix.Chdir(covered); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	return unix.Chroot(".")
}

// makeDevices makes what devtmpfs lacks and systemd makes.
func makeDevices() error {
	for name, target := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := os.Symlink("/proc/self/fd"+target, "/dev/"+name); err != nil {
			return err
		}
	}
	if err := os.Mkdir("/dev/net", 0o755); err != nil { //nolint:gosec // as everywhere
		return err
	}
	// Opening it loads the module.
	return unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))) // #nosec G115 -- a small number
}

// open opens a serial port for writing, which passes every byte as it is.
func open(port string) (*os.File, error) {
	f, err := os.OpenFile(port, os.O_WRONLY|unix.O_NOCTTY, 0) //nolint:gosec // ours
	if err != nil {
		return nil, err
	}
	settings, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	settings.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, settings); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
