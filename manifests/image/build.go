package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/renameio/v2"
)

// programs are what the image has. The agent installs warren-cni from beside itself.
var programs = []string{"warren-cni", "warrend"}

// commandLine is the agent's program by another name, by which it is the command line: for `kubectl exec`, and for uninstalling.
const commandLine = "warren"

func programPackages() (all []string) {
	for _, program := range programs {
		all = append(all, "./cmd/"+program)
	}
	return all
}

// build makes the image of all platforms, and writes it and its bills of materials.
func (r request) build(ctx context.Context) (v1.ImageIndex, error) {
	work, err := os.MkdirTemp("", "warren-image-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for programs: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := os.MkdirAll(filepath.Dir(r.out), 0o755); err != nil { //nolint:gosec // build output
		return nil, fmt.Errorf("making the folder of the image: %w", err)
	}

	var images, bills []mutate.IndexAddendum
	for _, platform := range r.platforms {
		dir := filepath.Join(work, platform.Architecture)
		if err := r.compile(ctx, platform, dir); err != nil {
			return nil, err
		}
		licenses, err := r.licenses(ctx, platform)
		if err != nil {
			return nil, fmt.Errorf("gathering licences for %s: %w", platform, err)
		}
		image, err := r.image(platform, dir, licenses)
		if err != nil {
			return nil, fmt.Errorf("making the image for %s: %w", platform, err)
		}
		text, err := r.bill(platform, dir, image)
		if err != nil {
			return nil, fmt.Errorf("listing the materials for %s: %w", platform, err)
		}
		path := fmt.Sprintf("%s-%s-%s%s", strings.TrimSuffix(r.out, ".tar"), platform.OS, platform.Architecture, billSuffix)
		if err := renameio.WriteFile(path, text, 0o644); err != nil {
			return nil, fmt.Errorf("writing the bill of materials: %w", err)
		}
		bill, err := attach(text, image)
		if err != nil {
			return nil, fmt.Errorf("attaching the bill of materials for %s: %w", platform, err)
		}
		images = append(images, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
		bills = append(bills, bill)
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), append(images, bills...)...)
	index = mutate.Annotations(index, r.annotations()).(v1.ImageIndex)
	if err := r.write(index); err != nil {
		return nil, fmt.Errorf("writing the image: %w", err)
	}
	return index, nil
}

// compile builds the programs into dir.
func (r request) compile(ctx context.Context, platform *v1.Platform, dir string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", r.ldflags, "-o", dir + "/"}, programPackages()...)
	if err := r.command(ctx, platform, args...).Run(); err != nil {
		return fmt.Errorf("building the programs in %s for %s: %w", r.source, platform, err)
	}
	return nil
}

// command is the go command for a platform. What could make it do something else on another machine is pinned or left out.
func (r request) command(ctx context.Context, platform *v1.Platform, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the flags are the caller's own
	command.Dir = r.source
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+platform.OS, "GOARCH="+platform.Architecture,
		"GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=", "GOWORK=off")
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	return command
}
