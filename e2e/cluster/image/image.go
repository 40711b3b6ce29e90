// Package image writes container images from files of this machine, without a registry and without Docker: archives that runtimes import.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Image is an image of one layer.
type Image struct {
	// Names are all that it goes by, with their tags.
	Names []string
	// Files are paths of this machine by their absolute paths in the image. Folders and programs are everybody's to read.
	Files map[string]string
	// Links are paths in the image by the absolute paths of symbolic links to them.
	Links map[string]string
	// Entrypoint and Cmd are what a container runs where its pod does not say.
	Entrypoint, Cmd []string
}

// created is every image's and every file's age, so that the same files give the same image.
var created = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Write writes the image as docker save does.
func (i Image) Write(w io.Writer) error {
	layer, err := i.layer()
	if err != nil {
		return fmt.Errorf("making image %s: %w", strings.Join(i.Names, ", "), err)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": created,
		"config": map[string]any{"Entrypoint": i.Entrypoint, "Cmd": i.Cmd, "WorkingDir": "/", "Env": []string{"PATH=/usr/bin:/bin:/"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return err
	}
	configName, layerName := digest(config)+".json", digest(layer)+"/layer.tar"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": i.Names, "Layers": []string{layerName}}})
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	err = errors.Join(add(archive, configName, config), add(archive, layerName, layer), add(archive, "manifest.json", manifest))
	if err := errors.Join(err, archive.Close()); err != nil {
		return fmt.Errorf("writing image %s: %w", strings.Join(i.Names, ", "), err)
	}
	return nil
}

func (i Image) layer() ([]byte, error) {
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	made := map[string]bool{".": true}
	for _, name := range slices.Sorted(maps.Keys(i.Files)) {
		content, err := os.ReadFile(i.Files[name])
		if err != nil {
			return nil, err
		}
		name = strings.TrimPrefix(path.Clean(name), "/")
		if err := errors.Join(addFolders(archive, path.Dir(name), made), add(archive, name, content)); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Links)) {
		target := i.Links[name]
		name = strings.TrimPrefix(path.Clean(name), "/")
		link := &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: created}
		if err := errors.Join(addFolders(archive, path.Dir(name), made), archive.WriteHeader(link)); err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return layer.Bytes(), err
}

func addFolders(archive *tar.Writer, name string, made map[string]bool) error {
	if made[name] {
		return nil
	}
	made[name] = true
	if err := addFolders(archive, path.Dir(name), made); err != nil {
		return err
	}
	return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: created})
}

func add(archive *tar.Writer, name string, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content)), ModTime: created}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
