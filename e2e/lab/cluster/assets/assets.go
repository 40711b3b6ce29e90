// Package assets finds Kubernetes' programs, and builds them where they are not there yet: those of the control plane, which every lab
// needs, and those of nodes, which only a cluster of real kubelets does.
//
// They come from the nested modules e2e/controlplane and e2e/kubelet and are kept under .cache of the repository, in
// folders named after the Kubernetes version and what they were built from. For the control plane a folder named by
// KUBEBUILDER_ASSETS goes first, and then nothing is built.
package assets

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Variable names a folder that has the programs already.
const Variable = "KUBEBUILDER_ASSETS"

// ErrNotBuilt says that the programs have yet to be built; see [Ensure].
var ErrNotBuilt = errors.New("the control plane is not built")

const (
	module     = "github.com/warren-mesh/warren"
	kubernetes = "k8s.io/kubernetes"
)

// part is the programs that one nested module makes: one binary that goes by several names, and packages of others' that are built as they
// are.
type part struct {
	title    string
	sources  string // the module's folder, in the repository
	required []string
	also     []string // names that may be missing
	packages []string // built besides, each to a program of its own
}

// controlPlane is what a control plane cannot do without; kubectl comes with it for people.
var controlPlane = part{
	title: "the control plane", sources: "e2e/controlplane",
	required: []string{"etcd", "kube-apiserver", "kube-controller-manager"}, also: []string{"kubectl"},
}

// nodes is what runs on a node, the scheduler that gives it pods, and the server in Kubernetes' own tests.
var nodes = part{
	title: "the programs of nodes", sources: "e2e/kubelet",
	required: []string{"kubelet", "kube-proxy", "kube-scheduler", "kubectl"}, packages: []string{kubernetes + "/test/images/agnhost"},
}

// binary is the program that goes by several names.
func (p part) binary() string { return filepath.Base(p.sources) }

// Find returns the folder with the programs, or an error that wraps [ErrNotBuilt]. It builds nothing.
func Find() (string, error) {
	if dir := os.Getenv(Variable); dir != "" {
		return dir, check(dir)
	}
	t, err := controlPlane.locate()
	if err != nil {
		return "", err
	}
	if !t.built() {
		return "", fmt.Errorf("%w (go run ./e2e/lab/cluster/build)", ErrNotBuilt)
	}
	return t.dir, nil
}

// check tells what a folder of somebody else's making lacks.
func check(dir string) error {
	missing := controlPlane.missing(dir)
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s=%s has no executable %s: put it there (kube-controller-manager is not part of envtest's archives, "+
		"and hands out spec.podCIDRs here), or unset %s to have the control plane built from source",
		Variable, dir, strings.Join(missing, ", "), Variable)
}

// missing are the programs that a folder lacks.
func (p part) missing(dir string) (names []string) {
	for _, name := range p.programs() {
		info, err := os.Stat(filepath.Join(dir, name)) //nolint:gosec // whoever runs this names the folder
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			names = append(names, name)
		}
	}
	return names
}

// programs are those that have to be there.
func (p part) programs() []string {
	names := slices.Clone(p.required)
	for _, pkg := range p.packages {
		names = append(names, path.Base(pkg))
	}
	return names
}

// target is what would be built: from where, at which version, into which folder.
type target struct {
	part
	folder  string // of the module
	version string // of Kubernetes, as in v1.34.4
	dir     string
}

func (t target) built() bool { return len(t.missing(t.dir)) == 0 }

// locate finds the repository from the working folder upward.
func (p part) locate() (target, error) {
	root, err := repository()
	if err != nil {
		return target{}, err
	}
	t := target{part: p, folder: filepath.Join(root, p.sources)}
	if t.version, err = requiredVersion(filepath.Join(t.folder, "go.mod"), kubernetes); err != nil {
		return target{}, err
	}
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		content, err := os.ReadFile(filepath.Join(t.folder, name)) //nolint:gosec // in the repository
		if err != nil {
			return target{}, fmt.Errorf("reading what %s is built from: %w", p.title, err)
		}
		sum.Write(content)
	}
	sum.Write([]byte(strings.Join(buildArguments(t.version, "", append([]string{"."}, p.packages...)...), " ")))
	t.dir = filepath.Join(root, ".cache", p.binary(),
		strings.TrimPrefix(t.version, "v")+"-"+hex.EncodeToString(sum.Sum(nil))[:12])
	return t, nil
}

// repository is the folder of the main module, at or above the working folder.
func repository() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if content, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil { //nolint:gosec // above the working folder
			if first, _, _ := strings.Cut(string(content), "\n"); strings.TrimSpace(first) == "module "+module {
				return dir, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("finding the repository: no go.mod of %s at or above %s", module, wd)
		}
	}
}

// requiredVersion reads the version a go.mod requires of one module.
func requiredVersion(file, path string) (string, error) {
	content, err := os.ReadFile(file) //nolint:gosec // in the repository
	if err != nil {
		return "", fmt.Errorf("reading the version of %s: %w", path, err)
	}
	for lines := bufio.NewScanner(strings.NewReader(string(content))); lines.Scan(); {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "require "))
		if len(fields) >= 2 && fields[0] == path {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("reading the version of %s: %s does not require it", path, file)
}
