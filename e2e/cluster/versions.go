package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// MakeVersion makes Warren's image once more, with an agent that calls itself version and has it for a tag, and imports it on every node. It
// returns the image's name.
func (c *Cluster) MakeVersion(ctx context.Context, version string) (string, error) {
	if len(c.warren.names) == 0 {
		return "", errors.New("making a version of Warren: the manifests have no image of it")
	}
	repository, _, _ := strings.Cut(c.warren.names[0], ":")
	name := repository + ":" + version
	dir := filepath.Join(c.dir, "images", version)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making version %s of Warren: %w", version, err)
	}
	agent, err := build(ctx, filepath.Join(dir, version), "./cmd/warrend", "-X github.com/warren-mesh/warren/internal/version.tag="+version)
	if err != nil {
		return "", err
	}
	made := c.warrenImage()
	made.Names, made.Files["/usr/bin/warrend"] = []string{name}, agent
	archive := filepath.Join(dir, "warren.tar")
	if err := writeImage(archive, made); err != nil {
		return "", fmt.Errorf("making version %s of Warren: %w", version, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.Lab.Nodes() {
		group.Go(func() error { return importImage(ctx, n, archive) })
	}
	return name, group.Wait()
}
