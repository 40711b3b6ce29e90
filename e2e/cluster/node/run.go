package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Ready is the line by which a node's first process says that there is a node around it.
const Ready = "ready"

// Run is a node: it joins the node's control groups and starts self with the arguments inside, as the first process of the node's
// namespaces, which is to call [Init]. It returns when that has ended, and takes it along when it is killed.
func Run(file, self string, inside ...string) error {
	s, err := read(file)
	if err != nil {
		return err
	}
	all, err := hierarchies()
	if err != nil {
		return err
	}
	if err := join(all, s.Cgroup); err != nil {
		return err
	}
	// The child is told of the end of the thread that made it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(self, inside...) //nolint:gosec,noctx // ourselves; its end is the node's
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// It is in a namespace of control groups now whose root is the node's. There is no process to be in that.
	if all[0].unified {
		if err := join(all, filepath.Join(s.Cgroup, leaf)); err != nil {
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
	}
	return cmd.Wait()
}

// Init is a node's first process. It makes the node's root, says on w that it has, and keeps the units running until it is killed.
func Init(file string, w io.Writer) error {
	if os.Getpid() != 1 {
		return errors.New("a node's first process is started by the node, in a PID namespace of its own")
	}
	s, err := read(file)
	if err != nil {
		return err
	}
	all, err := hierarchies()
	if err != nil {
		return err
	}
	if err := s.mount(all); err != nil {
		return fmt.Errorf("making a node: %w", err)
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	if _, err := fmt.Fprintln(w, Ready); err != nil {
		return err
	}
	k := &keeper{waiting: map[int]chan<- unix.WaitStatus{}}
	go k.keepAll(s.Units)
	for range children {
		k.reap()
	}
	return nil
}

// keeper keeps units running.
type keeper struct {
	mu      sync.Mutex                     // held while a unit is started: its end is not noticed before its PID is known
	waiting map[int]chan<- unix.WaitStatus // who is told of a process's end
}

// reap collects every child that has ended: units, and what others have left to us.
func (k *keeper) reap() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ended := k.waiting[pid]; ended != nil {
			delete(k.waiting, pid)
			ended <- status
		}
	}
}

func (k *keeper) keepAll(units []Unit) {
	for _, u := range units {
		for u.After != "" {
			if _, err := os.Stat(u.After); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		go k.keep(u)
	}
}

// pause is how long after its end a unit is started again.
const pause = time.Second

func (k *keeper) keep(u Unit) {
	for ; ; time.Sleep(pause) {
		ended, err := k.start(u)
		if err != nil {
			fmt.Fprintf(os.Stderr, "starting %s: %v\n", u.Name, err)
			continue
		}
		status := <-ended
		fmt.Fprintf(os.Stderr, "%s ended (exit status %d, signal %d): it is started again\n", u.Name, status.ExitStatus(), status.Signal())
	}
}

// start starts a unit with its output going to its log.
func (k *keeper) start(u Unit) (<-chan unix.WaitStatus, error) {
	log, err := os.OpenFile(Log(u.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(u.Args[0], u.Args[1:]...) //nolint:gosec,noctx // whoever makes the node chose it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan unix.WaitStatus, 1)
	k.waiting[cmd.Process.Pid] = ended
	return ended, cmd.Process.Release() // reap collects it
}

// Log is the file in a node with what a unit wrote.
func Log(unit string) string { return "/var/log/" + unit + ".log" }
