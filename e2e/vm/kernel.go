package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
)

// kernel is an unpacked package of Debian's.
type kernel struct {
	// image and modules are the kernel's file and the folder /lib/modules/VERSION.
	image, modules, version string
}

// kernelPackage is a signed kernel of the cloud flavour, which is the smallest of Debian's.
var kernelPackage = regexp.MustCompile(`(?m)^linux-image-\d+\.\d+\.\d+\S*-cloud-amd64$`)

// fetchKernel downloads and unpacks a kernel package, by default the newest of the archive, where the cache has it not yet.
// Nothing is installed.
func fetchKernel(ctx context.Context, cache, name string, out io.Writer) (kernel, error) {
	if runtime.GOARCH != "amd64" {
		return kernel{}, errors.New("the virtual machine is for amd64 only")
	}
	if name == "" {
		var err error
		if name, err = newestKernel(ctx); err != nil {
			return kernel{}, err
		}
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return kernel{}, err
	}
	root := filepath.Join(cache, name)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := unpackKernel(ctx, cache, name); err != nil {
			return kernel{}, fmt.Errorf("fetching %s: %w", name, err)
		}
	}
	modules, err := filepath.Glob(filepath.Join(root, "usr/lib/modules/*"))
	if err != nil || len(modules) != 1 {
		return kernel{}, fmt.Errorf("%s: want one kernel's modules, found %v (%w)", root, modules, err)
	}
	k := kernel{version: filepath.Base(modules[0]), modules: modules[0]}
	k.image = filepath.Join(root, "boot/vmlinuz-"+k.version)
	fmt.Fprintf(out, "kernel %s, of Debian's package %s\n", k.version, name)
	return k, nil
}

// newestKernel asks apt, after an update where it knows no kernel.
func newestKernel(ctx context.Context) (string, error) {
	for _, update := range []bool{false, true} {
		if update {
			if _, err := command(ctx, "apt-get", "update", "-qq"); err != nil {
				return "", err
			}
		}
		known, err := command(ctx, "apt-cache", "pkgnames", "linux-image-")
		if err != nil {
			return "", err
		}
		if name := newest(string(known)); name != "" {
			return name, nil
		}
	}
	return "", errors.New("apt knows no linux-image-*-cloud-amd64: want Debian's archive")
}

// newest is the newest kernel package of a list, one a line; empty where there is none.
func newest(list string) string {
	names := kernelPackage.FindAllString(list, -1)
	slices.SortFunc(names, func(a, b string) int { return slices.Compare(numbers(a), numbers(b)) })
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

var digits = regexp.MustCompile(`\d+`)

// numbers are a version's, for comparison.
func numbers(version string) []int {
	var all []int
	for _, text := range digits.FindAllString(version, -1) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return all
		}
		all = append(all, n)
	}
	return all
}

// unpackKernel makes the folder of a package in the cache, whole or not at all.
func unpackKernel(ctx context.Context, cache, name string) (err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // nothing secret, and apt's own user may look
		return err
	}
	dir, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := download(ctx, dir, name); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) != 1 {
		return fmt.Errorf("want one package, found %v (%w)", packages, err)
	}
	root := filepath.Join(dir, "root")
	if _, err := command(ctx, "dpkg-deb", "-x", packages[0], root); err != nil {
		return err
	}
	// Bookworm's kernels have /lib/modules, later ones /usr/lib/modules.
	old := filepath.Join(root, "lib/modules")
	if _, err := os.Stat(old); err == nil {
		if err := os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755); err != nil { //nolint:gosec // as in the package
			return err
		}
		if err := os.Rename(old, filepath.Join(root, "usr/lib/modules")); err != nil {
			return err
		}
	}
	return os.Rename(root, filepath.Join(cache, name))
}

// download fetches the package, with new lists where the archive has moved on.
func download(ctx context.Context, dir, name string) error {
	if _, err := commandIn(ctx, dir, "apt-get", "download", "-qq", name); err == nil {
		return nil
	}
	if _, err := command(ctx, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	_, err := commandIn(ctx, dir, "apt-get", "download", "-qq", name)
	return err
}
