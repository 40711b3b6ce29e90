package main

import (
	"context"
	"fmt"
	"path/filepath"
)

const (
	// otherBuild is the version of a warrend of this source that says it is another.
	otherBuild = "v0.0.0-other"
	// formerBuild is the commit from which TestUpgrade upgrades.
	formerBuild = "7cacc2b"
)

// addBuilds adds the builds of warrend that scenarios replace the agents by. Where the former commit is not in this clone, its
// scenario fails and says so.
func (f files) addBuilds(ctx context.Context, a *archive) error {
	other := filepath.Join(f.dir, otherBuild)
	if err := buildVersion(ctx, "", other, otherBuild); err != nil {
		return err
	}
	a.file(filepath.Join(labBuilds, otherBuild), other)

	source, former := filepath.Join(f.dir, "former"), filepath.Join(f.dir, formerBuild)
	archive := source + ".tar"
	if _, err := command(ctx, "git", "archive", "--prefix=former/", "-o", archive, formerBuild); err != nil {
		return nil //nolint:nilerr // a source without its history
	}
	if _, err := command(ctx, "tar", "-x", "-f", archive, "-C", f.dir); err != nil {
		return err
	}
	if err := buildVersion(ctx, source, former, formerBuild); err != nil {
		return fmt.Errorf("building commit %s: %w", formerBuild, err)
	}
	a.file(filepath.Join(labBuilds, formerBuild), former)
	return nil
}

func buildVersion(ctx context.Context, source, file, version string) error {
	_, err := commandIn(ctx, source, "go", "build", "-trimpath", "-buildvcs=false", "-o", file,
		"-ldflags", "-s -w -X github.com/warren-mesh/warren/internal/version.tag="+version, "./cmd/warrend")
	return err
}
