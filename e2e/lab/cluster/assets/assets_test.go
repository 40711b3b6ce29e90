package assets

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// folder makes one with the named executables.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil { // #nosec G306 -- it is a program
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindTakesTheVariable(t *testing.T) {
	whole := folder(t, "etcd", "kube-apiserver", "kube-controller-manager")
	t.Setenv(Variable, whole)
	for _, find := range []func() (string, error){Find, func() (string, error) { return Ensure(t.Context(), t.Output()) }} {
		if got, err := find(); got != whole || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, whole)
		}
	}

	t.Setenv(Variable, folder(t, "etcd", "kube-apiserver", "kubectl"))
	_, err := Ensure(t.Context(), t.Output())
	if err == nil || !strings.Contains(err.Error(), "has no executable kube-controller-manager:") {
		t.Errorf("got %v, want an error that names what is missing", err)
	}
}

func TestLocate(t *testing.T) {
	target, err := controlPlane.locate()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(target.version, "v1.") {
		t.Errorf("version is %q", target.version)
	}
	if name := filepath.Base(target.dir); !strings.HasPrefix(name, target.version[1:]+"-") {
		t.Errorf("folder %s is not named after version %s", name, target.version)
	}
	again, err := controlPlane.locate()
	if diff := cmp.Diff(target, again, cmp.AllowUnexported(target, part{})); diff != "" || err != nil {
		t.Errorf("a second time (%v):\n%s", err, diff)
	}
}

// A repository whose nested module does not compile, and then does.
func TestEnsure(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	sources := controlPlane.sources
	write("go.mod", "module "+module+"\n")
	write("here/empty", "")
	write(sources+"/go.mod", "module "+module+"/"+sources+"\n\ngo 1.24\n\nrequire "+kubernetes+" v1.2.3\n\nreplace "+kubernetes+" => ./k\n")
	write(sources+"/go.sum", "")
	write(sources+"/k/go.mod", "module "+kubernetes+"\n")
	write(sources+"/k/k.go", "package k\n")
	write(sources+"/main.go", "package main\n\nimport _ \""+kubernetes+"\"\n\nfunc main() { nowhere() }\n")
	t.Setenv(Variable, "")
	t.Chdir(filepath.Join(root, "here"))

	if _, err := Find(); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("Find: got %v, want %v", err, ErrNotBuilt)
	}
	var log bytes.Buffer
	_, err := Ensure(t.Context(), &log)
	if err == nil || !strings.Contains(err.Error(), "undefined: nowhere") {
		t.Errorf("got %v, want the compiler's words", err)
	}
	write(sources+"/main.go", "package main\n\nimport _ \""+kubernetes+"\"\n\nfunc main() {}\n")
	dir, err := Ensure(t.Context(), &log)
	if err != nil {
		t.Fatal(err)
	}
	if base := filepath.Join(root, ".cache", "controlplane"); filepath.Dir(dir) != base {
		t.Errorf("built in %s, want it in %s", dir, base)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".building-*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	size := log.Len()
	if again, err := Ensure(t.Context(), &log); again != dir || err != nil || log.Len() != size {
		t.Errorf("a second time: %q, %v, and it printed %q", again, err, log.String()[size:])
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, start: time.Now(), last: module + "/here"}
	step := func(text string) {
		t.Helper()
		if _, err := p.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		p.print()
	}
	step("go: downloading example.com/a v1.2.3\n")
	p.expect(7)
	step("example.com/a\nexample.com/a/in") // the second is not whole yet
	step("ternal\n")
	step("# example.com/a\na.go:1:1: oh\n")
	step(module + "/here\n")
	want := `  0s: downloading example.com/a v1.2.3
  0s: 1 of at most 7 packages compiled, compiling example.com/a
  0s: 2 of at most 7 packages compiled, compiling example.com/a/internal
  0s: 2 of at most 7 packages compiled, compiling example.com/a/internal
  0s: 3 of at most 7 packages compiled, linking
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("# example.com/a\na.go:1:1: oh\n", p.messages()); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}
