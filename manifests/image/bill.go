package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"
)

const billSuffix = ".cdx.json"

// bill lists what a platform's programs were linked from, as Go's linker wrote into them: for each program its modules, with versions and
// the checksums of go.sum, and the standard library.
func (r request) bill(platform *v1.Platform, dir string, image v1.Image) ([]byte, error) {
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	name := r.tag.Context().Name()
	purl := packageurl.NewPackageURL(packageurl.TypeOCI, "", path.Base(name), digest.String(),
		packageurl.QualifiersFromMap(map[string]string{"arch": platform.Architecture, "repository_url": name}), "").ToString()
	container := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeContainer, Name: name, Version: r.version, PackageURL: purl,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}}

	var components []cdx.Component
	var edges []cdx.Dependency
	var refs []string
	libraries := make(map[string]cdx.Component)
	for _, program := range programs {
		component, linked, err := r.inspect(filepath.Join(dir, program))
		if err != nil {
			return nil, fmt.Errorf("inspecting %s: %w", program, err)
		}
		maps.Copy(libraries, linked)
		components, refs = append(components, component), append(refs, component.BOMRef)
		needs := slices.Sorted(maps.Keys(linked))
		edges = append(edges, cdx.Dependency{Ref: component.BOMRef, Dependencies: &needs})
	}
	for _, ref := range slices.Sorted(maps.Keys(libraries)) {
		components = append(components, libraries[ref])
	}
	edges = append([]cdx.Dependency{{Ref: purl, Dependencies: &refs}}, edges...)

	bom := cdx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, []byte(purl)).URN()
	bom.Metadata = &cdx.Metadata{Timestamp: r.date.Format(time.RFC3339), Component: &container}
	bom.Components, bom.Dependencies = &components, &edges
	var text bytes.Buffer
	// The newest version that scanners commonly read.
	if err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return text.Bytes(), nil
}

// inspect is a program, and what it was linked from by package URL.
func (r request) inspect(program string) (cdx.Component, map[string]cdx.Component, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return cdx.Component{}, nil, err
	}
	content, err := os.ReadFile(program) //nolint:gosec // what was built here
	if err != nil {
		return cdx.Component{}, nil, err
	}
	sum := sha256.Sum256(content)
	base := filepath.Base(program)
	purl := goURL(info.Main.Path, r.version, "cmd/"+base)
	component := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeApplication, Name: base, Version: r.version, PackageURL: purl,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}}

	linked := make(map[string]cdx.Component)
	add := func(path, version string) cdx.Component {
		purl := goURL(path, version, "")
		c := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
		linked[purl] = c
		return c
	}
	add("std", strings.TrimPrefix(info.GoVersion, "go"))
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		c := add(module.Path, module.Version)
		c.Hashes = hashes(module)
		linked[c.BOMRef] = c
	}
	return component, linked, nil
}

// hashes is what go.sum has of a module, as CycloneDX's own tool for Go writes it.
func hashes(module *debug.Module) *[]cdx.Hash {
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(module.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return nil
	}
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
}

func goURL(module, version, subpath string) string {
	namespace, name := path.Split(module)
	return packageurl.NewPackageURL(packageurl.TypeGolang, strings.TrimSuffix(namespace, "/"), name, version, nil, subpath).ToString()
}
