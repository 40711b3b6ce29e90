package assets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// interval is how often a build says what it is at.
const interval = 15 * time.Second

// Ensure returns the folder with the programs and builds them first where they are not there. Progress is written to
// w, a line at least every 30 seconds. Two at a time wait for each other.
func Ensure(ctx context.Context, w io.Writer) (string, error) {
	dir, err := Find()
	if err == nil || !errors.Is(err, ErrNotBuilt) {
		return dir, err
	}
	t, err := locate()
	if err != nil {
		return "", err
	}
	if err := t.build(ctx, w); err != nil {
		return "", fmt.Errorf("building the control plane: %w", err)
	}
	return t.dir, nil
}

func (t target) build(ctx context.Context, w io.Writer) (err error) {
	if err := os.MkdirAll(filepath.Dir(t.dir), 0o755); err != nil { //nolint:gosec // programs anybody may run
		return err
	}
	unlock, err := lock(ctx, t.dir+".lock", w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if t.built() {
		return nil // by whoever held the lock
	}

	start := time.Now()
	fmt.Fprintf(w, "building the control plane (etcd and Kubernetes %s, in %s): about 10 CPU minutes the first time, seconds once Go has it in its cache\n",
		t.version, t.dir)
	tmp, err := os.MkdirTemp(filepath.Dir(t.dir), ".building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // as above
		return err
	}
	if err := t.compile(ctx, filepath.Join(tmp, binary), w); err != nil {
		return err
	}
	for _, name := range append([]string{"kubectl"}, required...) {
		if err := os.Symlink(binary, filepath.Join(tmp, name)); err != nil {
			return err
		}
	}
	// A rename makes it whole or not there at all; what is in the way was found wanting.
	if err := os.RemoveAll(t.dir); err != nil {
		return err
	}
	if err := os.Rename(tmp, t.dir); err != nil {
		return err
	}
	fmt.Fprintf(w, "built the control plane in %s\n", time.Since(start).Round(time.Second))
	return nil
}

// buildArguments are those of go build. The version that the programs report, and that clients look at, is stamped in
// by the linker, as Kubernetes' own build does.
func buildArguments(version, output string) []string {
	parts := append(strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3), "", "")
	var flags strings.Builder
	flags.WriteString("-s -w")
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, value := range []string{
			"gitVersion=" + version, "gitMajor=" + parts[0], "gitMinor=" + parts[1],
			"gitTreeState=clean", "gitCommit=" + strings.Repeat("0", 40), "buildDate=2026-01-01T00:00:00Z",
		} {
			flags.WriteString(" -X " + pkg + "." + value)
		}
	}
	return []string{"build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", flags.String(), "-o", output, "."}
}

// compile runs go build, at a low priority, and reports how far it is.
func (t target) compile(ctx context.Context, output string, w io.Writer) error {
	p := &progress{w: w, start: time.Now()}
	stop := p.every(interval)
	defer stop()

	p.say("listing packages, downloading modules")
	list := t.goCommand(ctx, "list", "-mod=readonly", "-deps", ".")
	var packages bytes.Buffer
	list.Stdout, list.Stderr = &packages, p
	if err := list.Run(); err != nil {
		return fmt.Errorf("go list: %w\n%s", err, p.messages())
	}
	p.expect(bytes.Count(packages.Bytes(), []byte("\n")))

	cmd := t.goCommand(ctx, buildArguments(t.version, output)...)
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, p.messages())
	}
	return nil
}

func (t target) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nice", append([]string{"go"}, args...)...) //nolint:gosec // our own arguments
	cmd.Dir = t.sources
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	// go's compilers are its children: an interrupt is for all of them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
