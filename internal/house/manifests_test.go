package house

import (
	"maps"
	"path/filepath"
	"testing"
)

// TestKustomizeKnowsEveryManifest: what lies beside its list is installed by the lab and by nobody else.
func TestKustomizeKnowsEveryManifest(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "manifests/base", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, file := range files {
		there[filepath.Base(file)] = true
	}
	maps.DeleteFunc(there, func(name string, _ bool) bool { return name == "kustomization.yaml" })
	listed := matches(read(t, "manifests/base/kustomization.yaml"), `(?m)^- (\S+\.yaml)$`)
	missing(t, "kustomization.yaml", there, listed)
	missing(t, "manifests/base", listed, there)
}
