package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// licenseName is what a file with a licence, or with what goes with one, is called.
var licenseName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)([._-].*)?$`)

// licenses are the texts that go with the programs, by their path in the image: ours, Go's, and of each linked module those in the folders of
// its linked packages and above them. A module without any is an error: nobody may pass it on.
func (r request) licenses(ctx context.Context, platform *v1.Platform) (map[string]string, error) {
	all := map[string]string{path.Join(licensesDir, "LICENSE"): filepath.Join(r.source, "LICENSE")}
	list := r.command(ctx, platform, append([]string{"list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}"}, programPackages()...)...)
	list.Stdout = nil
	packages, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing what is linked: %w", err)
	}
	found := make(map[string]int)
	for line := range strings.Lines(string(packages)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			continue // ours, or Go's
		}
		module, root, folder := fields[0], fields[1], fields[2]
		for ; strings.HasPrefix(folder, root); folder = filepath.Dir(folder) {
			files, err := textsIn(folder, path.Join(licensesDir, module, filepath.ToSlash(strings.TrimPrefix(folder, root))))
			if err != nil {
				return nil, err
			}
			found[module] += len(files)
			maps.Copy(all, files)
		}
	}
	for module, n := range found {
		if n == 0 {
			return nil, fmt.Errorf("the module %s has no licence: want a file that is called LICENSE, COPYING or the like", module)
		}
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("asking where Go is: %w", err)
	}
	all[path.Join(licensesDir, "std/LICENSE")] = filepath.Join(strings.TrimSpace(string(root)), "LICENSE")
	return all, nil
}

// textsIn are those of a folder, by their path in the image.
func textsIn(folder, as string) (map[string]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("looking for licences: %w", err)
	}
	files := make(map[string]string)
	for _, entry := range entries {
		if name := entry.Name(); entry.Type().IsRegular() && licenseName.MatchString(name) && filepath.Ext(name) != ".go" {
			files[path.Join(as, name)] = filepath.Join(folder, name)
		}
	}
	return files, nil
}
