package wg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// DefaultLogDir is where tunnel processes' logs are.
	DefaultLogDir = "/run/warren"
	// tailSize is how much of its log is told when a tunnel process does not start, in bytes.
	tailSize = 1 << 10
)

// LogPath is where the log of an interface's tunnel process is.
func LogPath(dir, iface string) string { return filepath.Join(dir, "tunnel-"+iface+".log") }

// spawnSelf runs this executable again as the interface's tunnel process, in a session of its own so that no signal meant for us
// reaches it, and returns when it answers. If it does not, the error has what it wrote.
func spawnSelf(iface, logDir string) error {
	log, start, err := openLog(LogPath(logDir, iface))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	// The link in /proc is this very program, also after the file on disk was replaced.
	command := exec.Command("/proc/self/exe", "tunnel", "--interface", iface) //nolint:gosec,noctx // ourselves; it outlives us
	command.Dir, command.Stdout, command.Stderr = "/", log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- command.Wait() }()
	errExited := errors.New("it ended")
	err = poll(startTimeout, func() (bool, error) {
		select {
		case err := <-exited:
			return false, errors.Join(errExited, err)
		default:
		}
		found, err := find(iface)
		return found != socket{}, err
	})
	if err == nil {
		return nil
	}
	if !errors.Is(err, errExited) {
		// Half alive it would hold the link, and keep the next one from it.
		err = errors.Join(err, command.Process.Kill())
	}
	return fmt.Errorf("%w; its log %s ends: %s", err, log.Name(), tail(log, start))
}

// openLog opens a log for appending, and says how long it is already.
func openLog(path string) (log *os.File, size int64, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, 0, fmt.Errorf("creating log directory: %w", err)
	}
	log, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, 0, fmt.Errorf("opening log: %w", err)
	}
	info, err := log.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("examining log: %w", err), log.Close())
	}
	return log, info.Size(), nil
}

// tail is the end of what the log has from start on, on one line.
func tail(log *os.File, start int64) string {
	info, err := log.Stat()
	if err != nil {
		return fmt.Sprintf("(not readable: %v)", err)
	}
	if start > info.Size() {
		start = 0 // it began anew
	}
	start = max(start, info.Size()-tailSize)
	text, err := io.ReadAll(io.NewSectionReader(log, start, tailSize))
	if err != nil {
		return fmt.Sprintf("(not readable: %v)", err)
	}
	if len(text) == 0 {
		return "(nothing)"
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", " | ")
}
