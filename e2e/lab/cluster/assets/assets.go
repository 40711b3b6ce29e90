// Package assets finds the control plane's programs, and builds them where they are not there yet.
//
// They come from the nested module e2e/controlplane and are kept under .cache/controlplane of the repository, in a
// folder named after the Kubernetes version and what they were built from. A folder named by KUBEBUILDER_ASSETS goes
// first, and then nothing is built.
package assets

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Variable names a folder that has the programs already.
const Variable = "KUBEBUILDER_ASSETS"

// ErrNotBuilt says that the programs have yet to be built; see [Ensure].
var ErrNotBuilt = errors.New("the control plane is not built")

const (
	module     = "github.com/warren-mesh/warren"
	sources    = "e2e/controlplane" // in the repository
	kubernetes = "k8s.io/kubernetes"
	binary     = "controlplane"
)

// required are the programs a control plane cannot do without; kubectl comes with them for people.
var required = []string{"etcd", "kube-apiserver", "kube-controller-manager"}

// Find returns the folder with the programs, or an error that wraps [ErrNotBuilt]. It builds nothing.
func Find() (string, error) {
	if dir := os.Getenv(Variable); dir != "" {
		return dir, check(dir)
	}
	t, err := locate()
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
	var missing []string
	for _, name := range required {
		info, err := os.Stat(filepath.Join(dir, name)) //nolint:gosec // whoever runs this names the folder
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s=%s has no executable %s: put it there (kube-controller-manager is not part of envtest's archives, "+
		"and hands out spec.podCIDRs here), or unset %s to have the control plane built from source",
		Variable, dir, strings.Join(missing, ", "), Variable)
}

// target is what would be built: from where, at which version, into which folder.
type target struct {
	sources string
	version string // of Kubernetes, as in v1.34.4
	dir     string
}

func (t target) built() bool { return check(t.dir) == nil }

// locate finds the repository from the working folder upward.
func locate() (target, error) {
	root, err := repository()
	if err != nil {
		return target{}, err
	}
	t := target{sources: filepath.Join(root, sources)}
	if t.version, err = requiredVersion(filepath.Join(t.sources, "go.mod"), kubernetes); err != nil {
		return target{}, err
	}
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		content, err := os.ReadFile(filepath.Join(t.sources, name)) //nolint:gosec // in the repository
		if err != nil {
			return target{}, fmt.Errorf("reading what the control plane is built from: %w", err)
		}
		sum.Write(content)
	}
	sum.Write([]byte(strings.Join(buildArguments(t.version, ""), " ")))
	t.dir = filepath.Join(root, ".cache", "controlplane",
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
