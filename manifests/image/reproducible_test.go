package main

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var cold = flag.Bool("image.cold", false, "compile everything anew for the image that is compared")

// testReproducible builds the same sources in another folder and compares all that is written, byte for byte.
func testReproducible(t *testing.T, first string) {
	source := filepath.Join(t.TempDir(), "elsewhere")
	copySources(t, source)
	if *cold {
		t.Setenv("GOCACHE", t.TempDir())
	}
	second := filepath.Join(t.TempDir(), filepath.Base(first))
	build(t, source, second)
	written, err := filepath.Glob(filepath.Join(filepath.Dir(first), "*"))
	if err != nil || len(written) != 3 {
		t.Fatalf("%v was written, %v; want the image and two bills", written, err)
	}
	for _, path := range written {
		one, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(filepath.Dir(second), filepath.Base(path)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, other) {
			t.Errorf("%s: %d and %d bytes that differ", filepath.Base(path), len(one), len(other))
		}
	}
}

// copySources copies what is, or would be, committed.
func copySources(t *testing.T, to string) {
	t.Helper()
	list, err := exec.Command("git", "-C", repository, "ls-files", "-coz", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("listing the sources: %v", err)
	}
	for path := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(repository, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(to, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
