package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// testLicenses: of every module that the go command says is linked the image has a text, and Go's own.
func testLicenses(t *testing.T, platform *v1.Platform, image v1.Image) {
	t.Helper()
	texts := make(map[string]string)
	each(t, image, func(header *tar.Header, content []byte) {
		if header.Typeflag == tar.TypeReg && strings.HasPrefix(header.Name, "licenses/") {
			texts[strings.TrimPrefix(header.Name, "licenses/")] = string(content)
		}
	})
	for _, program := range programs {
		for _, module := range modules(t, platform, program) {
			name, _, _ := strings.Cut(module, "@")
			var found bool
			for file, content := range texts {
				found = found || strings.HasPrefix(file, name+"/") && len(content) > 100
			}
			if !found {
				t.Errorf("there is no licence of %s", module)
			}
		}
	}
	if !strings.Contains(texts["std/LICENSE"], "The Go Authors") {
		t.Errorf("Go's licence is %q", texts["std/LICENSE"])
	}
}

// TestTextsOfLicenses: what is called like a licence is one, and code is none.
func TestTextsOfLicenses(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"LICENSE", "License.md", "LICENCE-MIT", "COPYING.txt", "NOTICE", "PATENTS", "license.go", "licenses.txt", "README", "notices.go"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := textsIn(folder, "licenses/m")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LICENSE", "License.md", "LICENCE-MIT", "COPYING.txt", "NOTICE", "PATENTS"} {
		if got["licenses/m/"+name] != filepath.Join(folder, name) {
			t.Errorf("%s was not found", name)
		}
		delete(got, "licenses/m/"+name)
	}
	if len(got) != 0 {
		t.Errorf("these are no licences: %v", got)
	}
}
