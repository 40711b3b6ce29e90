package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// read is what an archive holds, by name.
func read(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeSymlink {
			files[header.Name] = []byte("to " + header.Linkname)
		}
	}
}

func TestWrite(t *testing.T) {
	program := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(program, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	made := Image{
		Names: []string{"example.com/x:1"}, Files: map[string]string{"/opt/bin/x": program}, Links: map[string]string{"/sbin/y": "/opt/bin/x"},
		Entrypoint: []string{"/opt/bin/x"},
	}
	var first, second bytes.Buffer
	if err := errors.Join(made.Write(&first), made.Write(&second)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same files give two images")
	}

	files := read(t, first.Bytes())
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest %s: %v", files["manifest.json"], err)
	}
	if diff := cmp.Diff(made.Names, manifest[0].RepoTags); diff != "" {
		t.Error(diff)
	}
	layer := files[manifest[0].Layers[0]]
	want := map[string][]byte{"opt/": {}, "opt/bin/": {}, "opt/bin/x": []byte("content"), "sbin/": {}, "sbin/y": []byte("to /opt/bin/x")}
	if diff := cmp.Diff(want, read(t, layer)); diff != "" {
		t.Error(diff)
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
		Config struct{ Entrypoint []string }
	}
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if got, want := config.RootFS.DiffIDs, []string{"sha256:" + digest(layer)}; !cmp.Equal(got, want) {
		t.Errorf("layers %v, want %v", got, want)
	}
	if diff := cmp.Diff(made.Entrypoint, config.Config.Entrypoint); diff != "" {
		t.Error(diff)
	}

	made.Files = map[string]string{"/x": program + "y"}
	if err := made.Write(io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
