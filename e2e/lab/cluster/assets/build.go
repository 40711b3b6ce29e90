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
	"slices"
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
	return controlPlane.ensure(ctx, w)
}

// EnsureNodes is as [Ensure], for the programs of nodes: kubelet, kube-proxy, kube-scheduler, kubectl and agnhost.
func EnsureNodes(ctx context.Context, w io.Writer) (string, error) { return nodes.ensure(ctx, w) }

func (p part) ensure(ctx context.Context, w io.Writer) (string, error) {
	t, err := p.locate()
	if err == nil && !t.built() {
		err = t.build(ctx, w)
	}
	if err != nil {
		return "", fmt.Errorf("building %s: %w", p.title, err)
	}
	return t.dir, nil
}

func (t target) build(ctx context.Context, w io.Writer) (err error) {
	if err := os.MkdirAll(filepath.Dir(t.dir), 0o755); err != nil { //nolint:gosec // programs anybody may run
		return err
	}
	unlock, err := lock(ctx, t.dir+".lock", t.title, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if t.built() {
		return nil // by whoever held the lock
	}

	start := time.Now()
	fmt.Fprintf(w, "building %s (Kubernetes %s, in %s): about 10 CPU minutes the first time, seconds once Go has it in its cache\n",
		t.title, t.version, t.dir)
	tmp, err := os.MkdirTemp(filepath.Dir(t.dir), ".building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // as above
		return err
	}
	if err := t.compile(ctx, tmp, w); err != nil {
		return err
	}
	for _, name := range slices.Concat(t.also, t.required) {
		if name == t.binary() {
			continue
		}
		if err := os.Symlink(t.binary(), filepath.Join(tmp, name)); err != nil {
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
	fmt.Fprintf(w, "built %s in %s\n", t.title, time.Since(start).Round(time.Second))
	return nil
}

// buildArguments are those of go build. The version that the programs report, and that clients look at, is stamped in
// by the linker, as Kubernetes' own build does.
func buildArguments(version, output string, packages ...string) []string {
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
	args := []string{"build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", flags.String(), "-o", output}
	return append(args, packages...)
}

// compile runs go build, at a low priority, and reports how far it is. The programs come into the folder output.
func (t target) compile(ctx context.Context, output string, w io.Writer) error {
	packages := append([]string{"."}, t.packages...)
	p := &progress{w: w, start: time.Now(), last: module + "/" + t.sources}
	stop := p.every(interval)
	defer stop()

	p.say("listing packages, downloading modules")
	list := t.goCommand(ctx, append([]string{"list", "-mod=readonly", "-deps"}, packages...)...)
	var listed bytes.Buffer
	list.Stdout, list.Stderr = &listed, p
	if err := list.Run(); err != nil {
		return fmt.Errorf("go list: %w\n%s", err, p.messages())
	}
	p.expect(bytes.Count(listed.Bytes(), []byte("\n")))

	cmd := t.goCommand(ctx, buildArguments(t.version, output+"/", packages...)...)
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, p.messages())
	}
	return nil
}

func (t target) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nice", append([]string{"go"}, args...)...) //nolint:gosec // our own arguments
	cmd.Dir = t.folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	// go's compilers are its children: an interrupt is for all of them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
