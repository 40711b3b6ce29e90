package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const repository = "../.."

// arguments are of a release.
func arguments(source, out string) []string {
	return []string{"-source=" + source, "-out=" + out, "-reference=ghcr.io/warren-mesh/warren:v1.2.3", "-version=v1.2.3",
		"-revision=0123456789abcdef0123456789abcdef01234567", "-date=1700000000",
		"-ldflags=-s -w -X github.com/warren-mesh/warren/internal/version.tag=v1.2.3"}
}

// TestImage builds the real image of both platforms, reads it back from its file, and looks at all that it promises.
func TestImage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "warren.tar")
	r := build(t, repository, out)
	index, descriptor := open(t, out)

	t.Run("name", func(t *testing.T) {
		want := map[string]string{"io.containerd.image.name": "ghcr.io/warren-mesh/warren:v1.2.3", "org.opencontainers.image.ref.name": "v1.2.3"}
		if diff := cmp.Diff(want, descriptor.Annotations); diff != "" {
			t.Error(diff)
		}
		if digest, err := digestOf(out); err != nil || digest != descriptor.Digest {
			t.Errorf("-digest says %v, %v; want %v", digest, err, descriptor.Digest)
		}
	})
	t.Run("annotations", func(t *testing.T) {
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"org.opencontainers.image.title":       "Warren",
			"org.opencontainers.image.description": "Encrypted network of a Kubernetes cluster: agent, CNI plugin and command line",
			"org.opencontainers.image.version":     "v1.2.3",
			"org.opencontainers.image.revision":    "0123456789abcdef0123456789abcdef01234567",
			"org.opencontainers.image.source":      "https://github.com/warren-mesh/warren",
			"org.opencontainers.image.licenses":    "Apache-2.0",
		}
		if diff := cmp.Diff(want, manifest.Annotations); diff != "" {
			t.Error(diff)
		}
		var platforms []string
		for _, d := range manifest.Manifests {
			platforms = append(platforms, d.Platform.String())
		}
		if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64", "unknown/unknown", "unknown/unknown"}, platforms); diff != "" {
			t.Error(diff)
		}
	})
	for _, platform := range r.platforms {
		t.Run(platform.Architecture, func(t *testing.T) {
			image, err := imageFor(index, platform)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(image); err != nil {
				t.Fatal(err)
			}
			testConfig(t, r, platform, image)
			testFiles(t, r, platform, image)
			testLicenses(t, platform, image)
			testDockerArchive(t, r, platform, image)
			testBill(t, r, platform, index, image)
			if platform.Architecture == runtime.GOARCH {
				testRuns(t, image)
			}
		})
	}
	t.Run("reproducible", func(t *testing.T) { testReproducible(t, out) })
}

func build(t *testing.T, source, out string) request {
	t.Helper()
	r, err := parse(t, arguments(source, out)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// open reads an image from its file, and what the layout says of it.
func open(t *testing.T, path string) (v1.ImageIndex, v1.Descriptor) {
	t.Helper()
	dir := t.TempDir()
	if text, err := exec.Command("tar", "-xf", path, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := root.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("the layout has %+v, %v; want one image", manifest, err)
	}
	index, err := root.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return index, manifest.Manifests[0]
}

func testConfig(t *testing.T, r request, platform *v1.Platform, image v1.Image) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture || !config.Created.Equal(r.date) {
		t.Errorf("it is for %s/%s and of %v", config.OS, config.Architecture, config.Created)
	}
	want := v1.Config{User: "0:0", Env: []string{"PATH=/usr/local/bin"}, Entrypoint: []string{"/usr/local/bin/warrend"}, WorkingDir: "/",
		Labels: r.annotations()}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Error(diff)
	}
}

// testFiles looks at every file: there is none that is not listed here, so no shell, and every program is static.
func testFiles(t *testing.T, r request, platform *v1.Platform, image v1.Image) {
	t.Helper()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[platform.Architecture]
	want := []string{
		"drwxr-xr-x 0:0 licenses/",
		"-rw-r--r-- 0:0 licenses/LICENSE",
		"drwxr-xr-x 0:0 usr/",
		"drwxr-xr-x 0:0 usr/local/",
		"drwxr-xr-x 0:0 usr/local/bin/",
		"Lrwxrwxrwx 0:0 usr/local/bin/warren", // to warrend
		"-rwxr-xr-x 0:0 usr/local/bin/warren-cni",
		"-rwxr-xr-x 0:0 usr/local/bin/warrend",
	}
	var have []string
	each(t, image, func(header *tar.Header, content []byte) {
		// Third parties' licences are many; testLicenses looks for them.
		if third := strings.HasPrefix(header.Name, "licenses/") && strings.Count(header.Name, "/") > 1; !third {
			have = append(have, fmt.Sprintf("%s %d:%d %s", header.FileInfo().Mode(), header.Uid, header.Gid, header.Name))
		} else if header.Mode&0o111 != 0 && header.Typeflag != tar.TypeDir {
			t.Errorf("%s can be run", header.Name)
		}
		if !header.ModTime.Equal(r.date) {
			t.Errorf("%s is of %v, want %v", header.Name, header.ModTime, r.date)
		}
		if header.Typeflag == tar.TypeSymlink && header.Linkname != "warrend" {
			t.Errorf("%s is a link to %s", header.Name, header.Linkname)
		}
		if header.Typeflag != tar.TypeReg || header.Mode&0o111 == 0 {
			return
		}
		program, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			t.Fatalf("%s: %v", header.Name, err)
		}
		if libraries, err := program.ImportedLibraries(); program.Machine != machine || len(libraries) != 0 || program.Section(".interp") != nil {
			t.Errorf("%s is for %s, and needs %v, %v", header.Name, program.Machine, libraries, err)
		}
	})
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

// each hands over all files of an image.
func each(t *testing.T, image v1.Image, do func(*tar.Header, []byte)) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("it has %d layers, %v; want one", len(layers), err)
	}
	stream, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for files := tar.NewReader(stream); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		do(header, content)
	}
}

// testDockerArchive reads the file as one that `docker save` wrote.
func testDockerArchive(t *testing.T, r request, platform *v1.Platform, image v1.Image) {
	t.Helper()
	tag, err := name.NewTag("ghcr.io/warren-mesh/warren:v1.2.3-" + platform.Architecture)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tarball.ImageFromPath(r.out, &tag)
	if err != nil {
		t.Fatal(err)
	}
	have, err := loaded.ConfigName()
	if want, _ := image.ConfigName(); err != nil || have != want {
		t.Errorf("as a Docker archive it is %v, %v; want %v", have, err, want)
	}
	if err := validate.Image(loaded); err != nil {
		t.Error(err)
	}
}

// testRuns starts the programs where there is nothing but the image.
func testRuns(t *testing.T, image v1.Image) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("not root: the programs are not started")
		return
	}
	root := t.TempDir()
	each(t, image, func(header *tar.Header, content []byte) {
		file, mode := filepath.Join(root, header.Name), header.FileInfo().Mode().Perm()
		var err error
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(file, mode)
		case tar.TypeSymlink:
			err = os.Symlink(header.Linkname, file)
		default:
			err = os.WriteFile(file, content, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		program, argument, env, want string
	}{
		{config.Config.Entrypoint[0], "--version", "", "warrend version v1.2.3"},
		{"/usr/local/bin/warren", "--version", "", "warren version v1.2.3"},
		{"/usr/local/bin/warren", "uninstall --help", "", "Stop the agent first"},
		{"/usr/local/bin/warren-cni", "", "CNI_COMMAND=VERSION", `"1.1.0"`},
	} {
		command := exec.Command(tt.program, strings.Fields(tt.argument)...)
		command.Env = []string{tt.env}
		command.Dir = "/"
		command.Stdin = strings.NewReader(`{"cniVersion":"1.1.0"}`)
		command.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		if text, err := command.CombinedOutput(); err != nil || !strings.Contains(string(text), tt.want) {
			t.Errorf("%s %s says %q, %v; want %s", tt.program, tt.argument, text, err, tt.want)
		}
	}
}
