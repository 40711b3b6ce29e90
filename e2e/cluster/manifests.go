package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// ours matches the image of a container in a manifest, where it is Warren's: what is before, its name, its tag, what is after.
var ours = regexp.MustCompile(`(?m)^([\s-]*image: *"?)([^\s":]*warren)((?:[:@][^\s"]+)?)("?\s*)$`)

// tag is that of Warren's image where the manifests have none: kustomize or helm would put one there.
const tag = ":harness"

// readManifests reads Warren's manifests, and by which names they have its image.
func readManifests(paths []string) (manifests [][]byte, names []string, err error) {
	for _, path := range paths {
		files := []string{path}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(path, "*.yaml")); err != nil || len(files) == 0 {
				return nil, nil, fmt.Errorf("reading Warren's manifests: there are none in %s", path)
			}
		}
		for _, file := range files {
			content, err := os.ReadFile(file) //nolint:gosec // whoever runs this chose it
			if err != nil {
				return nil, nil, fmt.Errorf("reading Warren's manifests: %w", err)
			}
			content, found := pin(content)
			manifests = append(manifests, content)
			names = append(names, found...)
		}
	}
	slices.Sort(names)
	return manifests, slices.Compact(names), nil
}

// pin gives Warren's image a tag in a manifest where it has none, and says by which names it goes there.
func pin(manifest []byte) (pinned []byte, names []string) {
	pinned = ours.ReplaceAllFunc(manifest, func(line []byte) []byte {
		part := ours.FindSubmatch(line)
		if len(part[3]) == 0 {
			part[3] = []byte(tag)
		}
		names = append(names, string(part[2])+string(part[3]))
		return slices.Concat(part[1:]...)
	})
	return pinned, names
}
