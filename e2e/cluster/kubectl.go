package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/warren-mesh/warren/e2e/lab"
)

// Shell runs lines of a shell as an administrator would, in the repository, with kubectl at hand and speaking to this cluster, and returns what they
// wrote. The first that fails ends them.
func (c *Cluster) Shell(ctx context.Context, lines string) (string, error) {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", lines) //nolint:gosec // a test's own
	root, err := lab.Repository()
	if err != nil {
		return "", err
	}
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(), "PATH="+filepath.Dir(c.Kubectl())+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("running %s: %w: %s", strings.TrimSpace(lines), err, out)
	}
	return string(out), nil
}
