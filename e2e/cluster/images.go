package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/e2e/cluster/image"
	"github.com/warren-mesh/warren/e2e/lab"
)

// The images of every cluster.
const (
	pauseImage   = "registry.k8s.io/pause:3.10.1"
	agnhostImage = "registry.k8s.io/e2e-test-images/agnhost:2.56"
)

// makeImages makes the archives that every node imports.
func (c *Cluster) makeImages(ctx context.Context) error {
	dir := filepath.Join(c.dir, "images")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	pause, err := build(ctx, filepath.Join(dir, "pause"), "./e2e/cluster/pause")
	if err != nil {
		return err
	}
	all := map[string]image.Image{
		"pause.tar": {Names: []string{pauseImage}, Files: map[string]string{"/pause": pause}, Entrypoint: []string{"/pause"}},
		"agnhost.tar": {
			Names: []string{agnhostImage}, Files: map[string]string{"/agnhost": filepath.Join(c.programs.nodes, "agnhost")},
			Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"},
		},
	}
	if c.options.Image == "" && len(c.warren.names) > 0 {
		all["warren.tar"] = c.warrenImage()
	}
	for name, made := range all {
		file := filepath.Join(dir, name)
		if err := writeImage(file, made); err != nil {
			return err
		}
		c.images = append(c.images, file)
	}
	slices.Sort(c.images)
	c.images = append(c.images, c.options.Images...)
	return nil
}

func writeImage(file string, made image.Image) error {
	f, err := os.Create(file) //nolint:gosec // in the cluster's folder
	if err != nil {
		return err
	}
	return errors.Join(made.Write(f), f.Close())
}

// warrenImage is Warren's programs. The CNI plugin lies beside the agent, which installs it.
func (c *Cluster) warrenImage() image.Image {
	made := image.Image{Names: c.warren.names, Entrypoint: []string{"/usr/bin/warrend"}, Files: map[string]string{}}
	for _, name := range []string{"warrend", "warren", "warren-cni"} {
		made.Files["/usr/bin/"+name] = filepath.Join(c.programs.bin, name)
	}
	return made
}

// build builds a program and returns its file: that one, or where nothing can be built the one that is there already by that name.
func build(ctx context.Context, target, pkg string, ldflags ...string) (file string, err error) {
	if dir := os.Getenv(lab.BuildsVariable); dir != "" {
		return filepath.Join(dir, filepath.Base(target)), nil
	}
	root, err := lab.Repository()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", strings.Join(append(ldflags, "-s", "-w"), " "), "-o", target, pkg) //nolint:gosec // our own package
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, text)
	}
	return target, nil
}
