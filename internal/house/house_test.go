// Package house has the tests of what holds across the whole repository: where the arrows point, and that what people read is true.
package house

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/mesh"
)

const root = "../.."

// outside are the modules that no core may reach, however indirectly.
var outside = []string{
	"k8s.io/client-go", "github.com/vishvananda/netlink", "golang.zx2c4.com/wireguard/wgctrl", "github.com/google/nftables", "go.uber.org/zap",
}

// TestCoresReachNoKernelAndNoAPI looks at all that a core is built from. Of mesh only the core itself: its subfolders are adapters.
func TestCoresReachNoKernelAndNoAPI(t *testing.T) {
	for _, core := range []string{"./mesh", "./crypto/...", "./api/...", "./ipam/...", "./policy"} {
		if _, err := os.Stat(filepath.Join(root, strings.TrimSuffix(core, "/..."))); os.IsNotExist(err) {
			continue // Nothing lives there yet.
		}
		t.Run(core, func(t *testing.T) {
			if found := reached(t, core); len(found) != 0 {
				t.Errorf("%s reaches %s", core, strings.Join(found, ", "))
			}
		})
	}
	t.Run("control", func(t *testing.T) {
		if found := reached(t, "./internal/agent"); !slices.Equal(found, outside) {
			t.Errorf("the agent reaches %q: this test would not see what it looks for", found)
		}
	})
}

// TestThePluginIsSmall: it is started for every pod, and each of these costs it milliseconds.
func TestThePluginIsSmall(t *testing.T) {
	deps := strings.Fields(output(t, "go", "list", "-deps", "./cmd/warren-cni"))
	for _, heavy := range append([]string{"net/http", "crypto/tls", "github.com/warren-mesh/warren/internal/podnet"}, outside...) {
		if slices.Contains(deps, heavy) {
			t.Errorf("./cmd/warren-cni reaches %s", heavy)
		}
	}
	if !slices.Contains(deps, "github.com/containernetworking/cni/pkg/skel") {
		t.Errorf("./cmd/warren-cni is made of %d packages, and skel is none: this test would not see what it looks for", len(deps))
	}
}

// reached are those of outside that a package is built from.
func reached(t *testing.T, pkg string) (found []string) {
	t.Helper()
	deps := strings.Fields(output(t, "go", "list", "-deps", pkg))
	if len(deps) < 2 {
		t.Fatalf("go list -deps %s says %q", pkg, deps)
	}
	for _, module := range outside {
		if slices.ContainsFunc(deps, func(dep string) bool { return dep == module || strings.HasPrefix(dep, module+"/") }) {
			found = append(found, module)
		}
	}
	return found
}

func TestMakeHelpListsEveryTarget(t *testing.T) {
	targets := matches(read(t, "Makefile"), `(?m)^\.PHONY: ([a-z-]+)$`)
	listed := matches(output(t, "make", "--no-print-directory", "help"), `(?m)^  ([a-z-]+) +\S`)
	if len(targets) == 0 {
		t.Fatal("the Makefile has no .PHONY targets")
	}
	missing(t, "make help", targets, listed)
}

func TestDocumentsKnowEveryMetric(t *testing.T) {
	const name = `\bwarren_[a-z_]+[a-z]\b`
	inCode, inDocs := matchesIn(t, "internal/agent/*.go", `"(`+name+`)"`), matchesIn(t, "docs/*.md", `(`+name+`)`)
	if len(inCode) == 0 {
		t.Fatal("internal/agent has no metrics")
	}
	missing(t, "docs/operate.md", inCode, matches(read(t, "docs/operate.md"), `(`+name+`)`))
	maps.Copy(inDocs, matches(read(t, "README.md"), `(`+name+`)`))
	missing(t, "internal/agent", inDocs, inCode)
}

// matchesIn are the matches in all files of a pattern of names.
func matchesIn(t *testing.T, files, pattern string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, files))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for _, path := range paths {
		rel, _ := filepath.Rel(root, path)
		maps.Copy(all, matches(read(t, rel), pattern))
	}
	return all
}

// TestDocumentsKnowEveryReason looks at the table of the Events' reasons.
func TestDocumentsKnowEveryReason(t *testing.T) {
	inCode := make(map[string]bool)
	for _, reason := range mesh.Reasons {
		inCode[string(reason)] = true
	}
	inDocs := matches(read(t, "docs/operate.md"), "(?m)^\\| `([A-Z][A-Za-z]+)` \\|")
	missing(t, "docs/operate.md", inCode, inDocs)
	missing(t, "mesh.Reasons", inDocs, inCode)
}

// missing fails for what is in want and not in have.
func missing(t *testing.T, where string, want, have map[string]bool) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !have[name] {
			t.Errorf("%s does not have %s", where, name)
		}
	}
}

// matches are what the pattern's first group finds.
func matches(text, pattern string) map[string]bool {
	found := make(map[string]bool)
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[match[1]] = true
	}
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// output runs a command at the root of the repository.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	// Within `make test` these would be another make's.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") })
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(text)
}
