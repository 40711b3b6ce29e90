package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/renameio/v2"
)

// write puts the image into one tar file: an OCI image layout, in which containerd and Docker's containerd store find the name in
// annotations, and beside it the manifest.json of a Docker archive, which Docker's older store reads.
func (r request) write(index v1.ImageIndex) error {
	dir, err := os.MkdirTemp(filepath.Dir(r.out), ".layout-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	named := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{Annotations: map[string]string{
		"io.containerd.image.name":          r.tag.Name(),
		"org.opencontainers.image.ref.name": r.tag.TagStr(),
	}}})
	path, err := layout.Write(dir, named)
	if err != nil {
		return fmt.Errorf("laying out: %w", err)
	}
	archive, err := r.dockerArchive(index)
	if err != nil {
		return err
	}
	if err := path.WriteFile("manifest.json", archive, 0o644); err != nil {
		return err
	}

	file, err := renameio.NewPendingFile(r.out, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }()
	if err := r.packAll(file, dir); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

// dockerArchive lists the images of a layout as Docker archives do: they know no platforms, so each has its tag, with -ARCH at its end.
func (r request) dockerArchive(index v1.ImageIndex) ([]byte, error) {
	var all tarball.Manifest
	for _, platform := range r.platforms {
		image, err := imageFor(index, platform)
		if err != nil {
			return nil, err
		}
		manifest, err := image.Manifest()
		if err != nil {
			return nil, err
		}
		tag := r.tag.Context().Tag(r.tag.TagStr() + "-" + platform.Architecture)
		entry := tarball.Descriptor{Config: blob(manifest.Config.Digest), RepoTags: []string{tag.Name()}}
		for _, layer := range manifest.Layers {
			entry.Layers = append(entry.Layers, blob(layer.Digest))
		}
		all = append(all, entry)
	}
	return json.Marshal(all)
}

func blob(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// imageFor is a platform's image.
func imageFor(index v1.ImageIndex, platform *v1.Platform) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range manifest.Manifests {
		if d.Platform != nil && d.Platform.Equals(*platform) {
			return index.Image(d.Digest)
		}
	}
	return nil, fmt.Errorf("there is no image for %s", platform)
}

// packAll writes what is under dir, in the order of names.
func (r request) packAll(w io.Writer, dir string) error {
	archive := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: rel + "/", Mode: 0o755, ModTime: r.date})
		}
		return r.pack(archive, path, rel, 0o644)
	})
	return errors.Join(err, archive.Close())
}

// digestOf is the digest of the image in an archive: that of all platforms, as a registry would call it.
func digestOf(path string) (v1.Hash, error) {
	file, err := os.Open(path) //nolint:gosec // the caller's own
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading the image: %w", err)
	}
	defer func() { _ = file.Close() }()
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if err != nil {
			return v1.Hash{}, fmt.Errorf("looking for the OCI index in %s: %w", path, err)
		}
		if header.Name != "index.json" {
			continue
		}
		index, err := v1.ParseIndexManifest(archive)
		if err != nil || len(index.Manifests) != 1 {
			return v1.Hash{}, fmt.Errorf("reading the OCI index in %s: want one image, have %v: %w", path, index, err)
		}
		return index.Manifests[0].Digest, nil
	}
}

// describe says what was built, and how large it is as pulled and as unpacked.
func describe(w io.Writer, tag name.Tag, index v1.ImageIndex) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s@%s\n", tag.Name(), digest)
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		if d.Platform.OS == unknown {
			continue
		}
		image, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		compressed, unpacked, err := sizes(image)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%-12s %s  %.1f MB compressed, %.1f MB unpacked\n", d.Platform, d.Digest, float64(compressed)/1e6, float64(unpacked)/1e6)
	}
	return nil
}

func sizes(image v1.Image) (compressed, unpacked int64, err error) {
	layers, err := image.Layers()
	if err != nil {
		return 0, 0, err
	}
	for _, layer := range layers {
		pulled, err := layer.Size()
		if err != nil {
			return 0, 0, err
		}
		whole, err := partial.UncompressedSize(layer)
		if err != nil {
			return 0, 0, err
		}
		compressed, unpacked = compressed+pulled, unpacked+whole
	}
	return compressed, unpacked, nil
}
