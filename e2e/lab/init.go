package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stateDir is the agent's state folder, each node's own.
const stateDir = "/var/lib/warren"

// pluginsDir is where CNI's reference plugins keep what they know, each node's own.
const pluginsDir = "/var/lib/cni"

// ready is the line by which init says that the lab can be built in its namespaces.
const ready = "ready"

// RunInit is the first process of a lab's PID namespace: `warren-lab init`. It prepares the namespaces it was started in, says
// so on w, and reaps orphans until r ends: then it returns, and the kernel ends the lab.
func RunInit(labDir string, r io.Reader, w io.Writer) error {
	if os.Getpid() != 1 {
		return errors.New("init is started by the lab, in a PID namespace of its own")
	}
	if err := prepare(labDir); err != nil {
		return err
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	go func() {
		for range children {
			reap()
		}
	}()
	if _, err := fmt.Fprintln(w, ready); err != nil {
		return fmt.Errorf("saying that the lab's init is ready: %w", err)
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

// reap collects every child that has ended.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}

func prepare(labDir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := mountRun(labDir); err != nil {
		return err
	}
	for _, dir := range []string{stateDir, pluginsDir} {
		if err := makeMountPoint(dir); err != nil {
			return fmt.Errorf("making %s: %w", dir, err)
		}
	}
	if err := unix.Sethostname([]byte(switchName)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	return loopbackUp()
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	return nil
}

// initProcess is init as who started it sees it.
type initProcess struct {
	cmd   *exec.Cmd
	stdin io.Closer // its end is init's
}

// startInit starts init and returns when it is ready.
func startInit(bin, labDir string) (*initProcess, error) {
	cmd := exec.Command(filepath.Join(bin, "warren-lab"), "init", labDir) //nolint:gosec,noctx // our own program; kill ends it
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS,
		Setpgid:    true, // a terminal's Ctrl-C is for who started us
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the lab's init: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != ready {
		err = errors.Join(cmd.Process.Kill(), cmd.Wait())
		return nil, fmt.Errorf("starting the lab's init: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return &initProcess{cmd: cmd, stdin: stdin}, nil
}

func (p *initProcess) pid() int { return p.cmd.Process.Pid }

// kill ends init and with it every process of the lab. Those that this process started must be waited for meanwhile:
// init ends last.
func (p *initProcess) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing the lab's init: %w", err)
	}
	_ = p.stdin.Close() // its reader is dead
	done := make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // it was killed, and says so
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("killing the lab's init: process %d is still there", p.pid())
	}
}
