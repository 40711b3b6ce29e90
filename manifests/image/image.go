package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	binDir      = "usr/local/bin" // of every program
	licensesDir = "licenses"
	sourceURL   = "https://github.com/warren-mesh/warren"
)

// annotations are those that OCI defines. The configuration has them as labels, for what reads only that.
func (r request) annotations() map[string]string {
	all := map[string]string{
		"org.opencontainers.image.title":       "Warren",
		"org.opencontainers.image.description": "Encrypted network of a Kubernetes cluster: agent, CNI plugin and command line",
		"org.opencontainers.image.version":     r.version,
		"org.opencontainers.image.source":      sourceURL,
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if r.revision != "" {
		all["org.opencontainers.image.revision"] = r.revision
	}
	return all
}

// image is one platform's, of the programs in dir and these licences.
func (r request) image(platform *v1.Platform, dir string, licenses map[string]string) (v1.Image, error) {
	var files bytes.Buffer
	if err := r.rootfs(&files, dir, licenses); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("packing the layer: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Created: v1.Time{Time: r.date},
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			// Capabilities that a pod's spec adds are in force for root only, and what the agent writes on the node is root's.
			User:       "0:0",
			Env:        []string{"PATH=/" + binDir},
			Entrypoint: []string{"/" + binDir + "/warrend"},
			WorkingDir: "/",
			Labels:     r.annotations(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("configuring: %w", err)
	}
	image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: r.date}, CreatedBy: "make image", Comment: sourceURL},
	})
	if err != nil {
		return nil, fmt.Errorf("adding the layer: %w", err)
	}
	return mutate.Annotations(image, r.annotations()).(v1.Image), nil
}

// rootfs writes all that the image has: there is no shell, no C library and no account beside root.
func (r request) rootfs(w io.Writer, dir string, licenses map[string]string) error {
	files := tar.NewWriter(w)
	made := make(map[string]bool)
	for _, file := range slices.Sorted(maps.Keys(licenses)) {
		if err := r.folders(files, made, path.Dir(file)); err != nil {
			return err
		}
		if err := r.pack(files, licenses[file], file, 0o644); err != nil {
			return err
		}
	}
	if err := r.folders(files, made, binDir); err != nil {
		return err
	}
	link := &tar.Header{Typeflag: tar.TypeSymlink, Name: binDir + "/" + commandLine, Linkname: "warrend", Mode: 0o777, ModTime: r.date}
	if err := files.WriteHeader(link); err != nil {
		return fmt.Errorf("packing %s: %w", commandLine, err)
	}
	for _, program := range programs {
		if err := r.pack(files, filepath.Join(dir, program), binDir+"/"+program, 0o755); err != nil {
			return err
		}
	}
	return files.Close()
}

// folders adds a folder and those that it is in, each once.
func (r request) folders(archive *tar.Writer, made map[string]bool, folder string) error {
	if folder == "." || made[folder] {
		return nil
	}
	if err := r.folders(archive, made, path.Dir(folder)); err != nil {
		return err
	}
	made[folder] = true
	header := &tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, ModTime: r.date}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("packing %s: %w", folder, err)
	}
	return nil
}

// pack adds a file under another name. It is root's, and as old as the commit.
func (r request) pack(archive *tar.Writer, file, as string, mode int64) error {
	content, err := os.ReadFile(file) //nolint:gosec // what was built here
	if err != nil {
		return fmt.Errorf("packing %s: %w", as, err)
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: as, Mode: mode, Size: int64(len(content)), ModTime: r.date}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("packing %s: %w", as, err)
	}
	if _, err := archive.Write(content); err != nil {
		return fmt.Errorf("packing %s: %w", as, err)
	}
	return nil
}
