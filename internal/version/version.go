// Package version knows which build of Warren this is.
package version

import "runtime/debug"

// tag is set by the linker in a release: -X github.com/warren-mesh/warren/internal/version.tag=v1.2.3.
var tag string

// String is the release's tag, else the commit that it was built from, else "devel".
func String() string {
	if tag != "" {
		return tag
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			return "devel-" + setting.Value[:12]
		}
	}
	return "devel"
}
