package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// testBill: each program has the modules that the go command says it is built from, the file and the image have the same text, and that
// is found from the image.
func testBill(t *testing.T, r request, platform *v1.Platform, index v1.ImageIndex, image v1.Image) {
	t.Helper()
	text, err := os.ReadFile(strings.TrimSuffix(r.out, ".tar") + "-linux-" + platform.Architecture + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	if attached := referrer(t, index, image); !bytes.Equal(text, attached) {
		t.Errorf("the image has another bill of materials than the file:\n%s", attached)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if digest, _ := image.Digest(); !strings.Contains(bom.Metadata.Component.PackageURL, digest.Hex) {
		t.Errorf("it is about %s, want %v", bom.Metadata.Component.PackageURL, digest)
	}

	components := make(map[string]cdx.Component)
	for _, c := range *bom.Components {
		if c.Type == cdx.ComponentTypeLibrary && c.Name != "std" && c.Hashes == nil {
			t.Errorf("%s has no checksum", c.BOMRef)
		}
		components[c.BOMRef] = c
	}
	have := make(map[string][]string)
	for _, d := range *bom.Dependencies {
		if d.Ref == bom.Metadata.Component.BOMRef {
			continue
		}
		for _, ref := range *d.Dependencies {
			have[components[d.Ref].Name] = append(have[components[d.Ref].Name], components[ref].Name+"@"+components[ref].Version)
		}
	}
	for _, program := range programs {
		slices.Sort(have[program])
		if diff := cmp.Diff(modules(t, platform, program), have[program]); diff != "" {
			t.Errorf("modules of %s:\n%s", program, diff)
		}
	}
	if !slices.ContainsFunc(have["warrend"], func(m string) bool { return strings.HasPrefix(m, "k8s.io/client-go@v0.") }) {
		t.Error("warrend is not linked from client-go")
	}
}

// modules asks the go command what a program is built from.
func modules(t *testing.T, platform *v1.Platform, program string) []string {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}", "./cmd/"+program)
	list.Dir = repository
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+platform.Architecture)
	text, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	goVersion, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := append(strings.Fields(string(text)), "std@"+strings.TrimPrefix(strings.TrimSpace(string(goVersion)), "go"))
	slices.Sort(all)
	return slices.Compact(all)
}

// referrer is what the index has about an image.
func referrer(t *testing.T, index v1.ImageIndex, image v1.Image) []byte {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range manifest.Manifests {
		artifact, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		m, err := artifact.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject == nil || m.Subject.Digest != digest {
			continue
		}
		if d.ArtifactType != "application/vnd.cyclonedx+json" || path.Base(string(m.Config.MediaType)) != "vnd.oci.empty.v1+json" {
			t.Errorf("what refers to the image is %s with a configuration %s", d.ArtifactType, m.Config.MediaType)
		}
		layer, err := artifact.LayerByDigest(m.Layers[0].Digest)
		if err != nil {
			t.Fatal(err)
		}
		content, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		text, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	t.Fatalf("nothing refers to %v", digest)
	return nil
}
