package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
)

// BinVariable names a folder with the lab's programs, so that nothing is built.
const BinVariable = "WARREN_BIN"

// BuildsVariable names a folder with programs that tests build otherwise, for where nothing can be built: a warrend in a file named after its version, and
// others by their own names.
const BuildsVariable = "WARREN_BUILDS"

// findPrograms fills in where the programs and manifests are, and builds what is to be built.
func (o *Options) findPrograms(ctx context.Context) error {
	if o.Bin == "" {
		o.Bin = os.Getenv(BinVariable)
	}
	root, err := Repository()
	if err != nil && (o.Bin == "" || !o.NoControlPlane && (o.Manifests == nil || o.Assets == "")) {
		return err
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Bin == "" {
		if o.Bin, err = Build(ctx, o.Out, o.NoControlPlane); err != nil {
			return err
		}
	}
	if o.Bin, err = filepath.Abs(o.Bin); err != nil {
		return err
	}
	if o.NoControlPlane {
		return nil
	}
	if o.Manifests == nil {
		o.Manifests = []string{filepath.Join(root, "manifests", "base")}
	}
	if o.Assets == "" {
		if o.Assets, err = assets.Ensure(ctx, o.Out); err != nil {
			return err
		}
	}
	return nil
}

// Repository is the folder of the main module, at or above the working folder.
func Repository() (string, error) {
	const first = "module github.com/warren-mesh/warren\n"
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if content, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(content), first) { //nolint:gosec // above the working folder
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("finding the repository: it is not at or above %s", wd)
		}
	}
}

// building keeps the labs of one process from building at the same time, and more than once.
var building struct {
	sync.Mutex
	done map[bool]bool
}

// Build brings the repository's bin/ up to date: warrend, warren, warren-cni and warren-lab, or only the last. It returns the folder.
func Build(ctx context.Context, out io.Writer, onlyLab bool) (string, error) {
	building.Lock()
	defer building.Unlock()
	root, err := Repository()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, "bin")
	if building.done[onlyLab] || building.done[false] {
		return bin, nil
	}
	packages := []string{"./e2e/lab/warren-lab"}
	if !onlyLab {
		packages = append(packages, "./cmd/warrend", "./cmd/warren", "./cmd/warren-cni")
	}
	if err := build(ctx, out, root, bin, packages); err != nil {
		return "", fmt.Errorf("building %s: %w", strings.Join(packages, ", "), err)
	}
	if building.done == nil {
		building.done = map[bool]bool{}
	}
	building.done[onlyLab] = true
	return bin, nil
}

func build(ctx context.Context, out io.Writer, root, bin string, packages []string) (err error) {
	if err := os.MkdirAll(bin, 0o750); err != nil {
		return err
	}
	// Tests of several packages run at the same time, each in a process of its own.
	lock, err := os.OpenFile(filepath.Join(bin, ".lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // in our own bin/
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	flags := "-s -w -X github.com/warren-mesh/warren/internal/version.tag=" + describe(ctx, root)
	for _, pkg := range packages {
		fmt.Fprintf(out, "building %s\n", pkg)
		target := filepath.Join(bin, filepath.Base(pkg))
		if err := goBuild(ctx, root, target, pkg, flags); err != nil {
			return err
		}
	}
	return nil
}

// describe is the source's commit as `make build` gives it, so that a report says of which build it is; nothing where git does not know.
func describe(ctx context.Context, root string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--tags", "--always", "--dirty").Output() //nolint:gosec // our own folder
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// goBuild builds beside the target and renames: a program that runs is not written into.
func goBuild(ctx context.Context, root, target, pkg, flags string) error {
	fresh := target + ".new"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", flags, "-o", fresh, pkg) //nolint:gosec // our own packages
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	return os.Rename(fresh, target)
}
