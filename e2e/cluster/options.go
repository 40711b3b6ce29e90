package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/warren-mesh/warren/e2e/lab"
)

// CNI is who gives pods their network.
type CNI string

// The networks that a cluster may come up with.
const (
	// Warren is applied from its manifests when the nodes have registered, and is waited for.
	Warren CNI = "warren"
	// Reference is the CNI project's ptp and host-local, with a route to each node's pods: no encryption and no policy.
	Reference CNI = "reference"
	// None leaves the nodes NotReady.
	None CNI = "none"
)

// Options say what a cluster is like.
type Options struct {
	// Name tells clusters apart that run at the same time; default [DefaultName].
	Name string
	// Nodes is how many there are: n1, n2, ... Default 2.
	Nodes int
	// Families are those of pods and services; default IPv4. The underlay has them too.
	Families lab.Families
	// CNI is who gives pods their network; default Warren.
	CNI CNI
	// Manifests are Warren's, files and folders; default manifests/base of the repository.
	Manifests []string
	// Image is an archive with Warren's image, as docker save or an OCI layout has it; by default one is made of the repository's bin/. It goes by
	// the names that the manifests have for it.
	Image string
	// Images are archives of others that all nodes get.
	Images []string
	// Out gets a line for every step; default none.
	Out io.Writer
}

// DefaultName is the cluster that people mean who name none.
const DefaultName = "cluster"

// maxNodes is what has been tried.
const maxNodes = 4

func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Nodes == 0 {
		o.Nodes = 2
	}
	if o.Families == "" {
		o.Families = lab.IPv4
	}
	if o.CNI == "" {
		o.CNI = Warren
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	var errs []error
	if o.Nodes < 1 || o.Nodes > maxNodes {
		errs = append(errs, fmt.Errorf("nodes %d: want 1 to %d", o.Nodes, maxNodes))
	}
	if o.CNI != Warren && o.CNI != Reference && o.CNI != None {
		errs = append(errs, fmt.Errorf("cni %q: want %s, %s or %s", o.CNI, Warren, Reference, None))
	}
	var missing []string
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("missing: %s (`.ci/deps cluster` installs them)", strings.Join(missing, ", ")))
	}
	for _, file := range append(append([]string{}, o.Images...), o.Image) {
		if _, err := os.Stat(file); file != "" && err != nil {
			errs = append(errs, fmt.Errorf("image: %w", err))
		}
	}
	return errors.Join(errs...)
}
