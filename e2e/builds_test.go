package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/e2e/lab"
)

// The kinds of WireGuard devices.
const (
	kernel    = "kernel"
	userspace = "userspace"
)

// deviceOf is what a node's WireGuard is.
func deviceOf(ctx context.Context, t *testing.T, n *lab.Node) string {
	t.Helper()
	if strings.Contains(run(ctx, t, &n.Host, "", "ip", "-details", "link", "show", "warren0"), "\n    wireguard ") {
		return kernel
	}
	return userspace
}

// otherVersion is what a build of this source calls itself that agents are replaced by.
const otherVersion = "v0.0.0-other"

// buildAgent is the path of a warrend of this source that calls itself another version.
func buildAgent(ctx context.Context, t *testing.T, version string) string {
	t.Helper()
	if dir := os.Getenv(lab.BuildsVariable); dir != "" {
		return filepath.Join(dir, version)
	}
	root, err := lab.Repository()
	if err != nil {
		t.Fatal(err)
	}
	return goBuildAgent(ctx, t, root, version)
}

func goBuildAgent(ctx context.Context, t *testing.T, source, version string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "warrend")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", file,
		"-ldflags", "-X github.com/warren-mesh/warren/internal/version.tag="+version, "./cmd/warrend")
	cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building warrend %s: %v\n%s", version, err, out)
	}
	return file
}

// runs is an error unless the node's last agent to start was of a version.
func runs(n *lab.Node, version string) error {
	content, err := os.ReadFile(n.AgentLog())
	if err != nil {
		return err
	}
	started := ""
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, `"msg":"starting"`) {
			started = line
		}
	}
	if !strings.Contains(started, fmt.Sprintf(`"version":%q`, version)) {
		return fmt.Errorf("%s runs another version than %s: %s", n.Name, version, started)
	}
	return nil
}
