package kube

import (
	"strings"

	"github.com/warren-mesh/warren/mesh"
)

// maxKeptBytes is more than mesh reads of any annotation: what is cut here is malformed either way, but a hostile Node's
// 256 KiB are not kept in every agent's memory.
const maxKeptBytes = 8192

// readAnnotations are what we read of a Node's annotations: a claim's, and the operator's override.
var readAnnotations = func() []string {
	names := []string{mesh.AnnotationEndpointOverride}
	for name := range (mesh.Claim{Migrating: true}).Annotations() { // all that there can be
		names = append(names, name)
	}
	return names
}()

// keepAnnotations are those that we read, none longer than can be sound.
func keepAnnotations(annotations map[string]string) map[string]string {
	var kept map[string]string
	for _, name := range readAnnotations {
		value, ok := annotations[name]
		if !ok {
			continue
		}
		if len(value) > maxKeptBytes {
			value = strings.Clone(value[:maxKeptBytes])
		}
		if kept == nil {
			kept = make(map[string]string, len(readAnnotations))
		}
		kept[name] = value
	}
	return kept
}
