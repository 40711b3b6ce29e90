package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warren-mesh/warren/e2e/vm/job"
)

// files are what the machine's whole root is made of.
type files struct {
	// dir is where the binaries are built.
	dir    string
	kernel kernel
	setup  job.Setup
	// programs is the folder of the control plane's, where there are labs, and nodePrograms that of kubelet and its company, where there are clusters.
	programs, nodePrograms string
}

// write writes the root: the first process, the tests, the kernel's modules, and the programs that the tests run.
func (f files) write(ctx context.Context, name string) (err error) {
	file, err := os.Create(name) //nolint:gosec // in our temporary folder
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	a := newArchive(file)
	for _, folder := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/var/lib"} {
		a.folder(folder)
	}
	for _, folder := range []string{"bin", "sbin", "lib", "lib64"} {
		a.folder("/usr/" + folder)
		a.link("/"+folder, "usr/"+folder)
	}
	a.link("/var/run", "/run")
	a.text("/etc/passwd", typeFile|0o644, "root:x:0:0:root:/root:/bin/sh\n")
	a.text("/etc/group", typeFile|0o644, "root:x:0:\n")
	if err := addModules(ctx, a, f.dir, f.kernel); err != nil {
		return err
	}
	if err := addPrograms(ctx, a); err != nil {
		return err
	}
	if err := f.addTests(ctx, a); err != nil {
		return err
	}
	if f.programs != "" {
		if err := f.addLab(ctx, a); err != nil {
			return err
		}
	}
	if f.nodePrograms != "" {
		if err := f.addCluster(ctx, a); err != nil {
			return err
		}
	}
	return a.close()
}

// addModules adds all modules. As on a real machine the kernel has modprobe load what is asked for.
func addModules(ctx context.Context, a *archive, dir string, k kernel) error {
	root := filepath.Join(dir, "modules")
	folder := filepath.Join(root, "lib/modules")
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // ours
		return err
	}
	folder = filepath.Join(folder, k.version)
	if err := os.CopyFS(folder, os.DirFS(k.modules)); err != nil {
		return err
	}
	if _, err := command(ctx, "/sbin/depmod", "-b", root, k.version); err != nil {
		return err
	}
	return addTree(a, "/usr/lib/modules/"+k.version, folder)
}

// addTests builds the packages' tests and the first process, and adds them with the packages' testdata.
func (f files) addTests(ctx context.Context, a *archive) error {
	for i, j := range f.setup.Jobs {
		binary := filepath.Join(f.dir, fmt.Sprintf("%d.test", i))
		if _, err := command(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", binary, "./"+j.Package); err != nil {
			return err
		}
		a.file(j.Dir+"/test", binary)
		if err := addTree(a, j.Dir+"/testdata", filepath.Join(j.Package, "testdata")); err != nil {
			return err
		}
	}
	guest, err := f.build(ctx, "./e2e/vm/guest")
	if err != nil {
		return err
	}
	a.file("/init", guest)
	setup, err := json.Marshal(f.setup)
	if err != nil {
		return err
	}
	a.text(job.File, typeFile|0o600, string(setup))
	return nil
}

// addTree adds what files are in a folder, if it is there.
func addTree(a *archive, name, folder string) error {
	return filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && file == folder:
			return nil
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "rapid":
			return fs.SkipDir // failures kept from runs here
		case entry.Type().IsRegular():
			a.file(name+strings.TrimPrefix(file, folder), file)
		}
		return nil
	})
}
