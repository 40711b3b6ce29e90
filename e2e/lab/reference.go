package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// The CNI project's reference plugins and cnitool, built as they are.
const (
	CNIPluginsVersion = "v1.9.1"
	CNIToolVersion    = "v1.3.1"
)

var references = map[string]string{
	"loopback":   "github.com/containernetworking/plugins/plugins/main/loopback@" + CNIPluginsVersion,
	"bridge":     "github.com/containernetworking/plugins/plugins/main/bridge@" + CNIPluginsVersion,
	"ptp":        "github.com/containernetworking/plugins/plugins/main/ptp@" + CNIPluginsVersion,
	"host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local@" + CNIPluginsVersion,
	"portmap":    "github.com/containernetworking/plugins/plugins/meta/portmap@" + CNIPluginsVersion,
	"bandwidth":  "github.com/containernetworking/plugins/plugins/meta/bandwidth@" + CNIPluginsVersion,
	"cnitool":    "github.com/containernetworking/cni/cnitool@" + CNIToolVersion,
}

// BuildReferences builds those that are not there yet, with the same flags as Warren's own programs, and says in which folder.
func BuildReferences(ctx context.Context, out io.Writer, names ...string) (dir string, err error) {
	root, err := Repository()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(root, ".cache", "cni-"+CNIPluginsVersion)
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			continue
		}
		fmt.Fprintf(out, "building %s\n", references[name])
		cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags", "-s -w", references[name])
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w\n%s", references[name], err, text)
		}
	}
	return dir, nil
}
