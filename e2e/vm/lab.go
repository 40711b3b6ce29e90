package main

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/e2e/lab/cluster/assets"
	"github.com/warren-mesh/warren/e2e/vm/job"
	"github.com/warren-mesh/warren/e2e/vm/outside"
)

// scenarios is the package whose tests want whole labs: the control plane, the agents and the manifests.
const scenarios = "e2e"

// Where the guest has what labs run, and the variables by which they find it.
const (
	labBin      = job.Bin
	labPrograms = "/lab/controlplane"
	labBuilds   = "/lab/builds"
	labCRD      = "/lab/clusternetworkpolicies.yaml"
)

var labEnv = []string{
	"WARREN_BIN=" + labBin, assets.Variable + "=" + labPrograms, "WARREN_BUILDS=" + labBuilds, "WARREN_CLUSTER_POLICY_CRD=" + labCRD,
}

// addLab adds what a lab takes from the repository, and what is built there.
func (f files) addLab(ctx context.Context, a *archive) error {
	for _, pkg := range []string{"./cmd/warrend", "./cmd/warren", "./cmd/warren-cni", "./e2e/lab/warren-lab"} {
		binary, err := f.build(ctx, pkg)
		if err != nil {
			return err
		}
		a.file(filepath.Join(labBin, filepath.Base(pkg)), binary)
	}
	if f.setup.Nodes != nil {
		return nil // the lab is outside
	}
	if err := f.addControlPlane(ctx, a); err != nil {
		return err
	}
	if err := f.addBuilds(ctx, a); err != nil {
		return err
	}
	root, err := lab.Repository()
	if err != nil {
		return err
	}
	a.file("/src/go.mod", filepath.Join(root, "go.mod"))
	policies, err := commandIn(ctx, root, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/network-policy-api")
	if err != nil {
		return err
	}
	a.file(labCRD, filepath.Join(strings.TrimSpace(string(policies)), "config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml"))
	return addTree(a, "/src/manifests", filepath.Join(root, "manifests"))
}

// addControlPlane adds its programs or, where it is outside, what stands in for them. Programs that are one file stay one.
func (f files) addControlPlane(ctx context.Context, a *archive) error {
	var standIn string
	if f.setup.Host != nil {
		var err error
		if standIn, err = f.build(ctx, "./e2e/vm/remote"); err != nil {
			return err
		}
	}
	sources := map[string]string{}
	for name := range outside.Ports {
		sources[name] = cmp.Or(standIn, filepath.Join(f.programs, name))
	}
	return addOnce(a, labPrograms, sources)
}

// addOnce adds files to a folder by their names there: those that are one file as one, and links to it.
func addOnce(a *archive, folder string, sources map[string]string) error {
	added := map[string]os.FileInfo{}
next:
	for name, source := range sources {
		info, err := os.Stat(source)
		if err != nil {
			return err
		}
		for other, has := range added {
			if os.SameFile(info, has) {
				a.link(filepath.Join(folder, name), other)
				continue next
			}
		}
		added[name] = info
		a.file(filepath.Join(folder, name), source)
	}
	return nil
}

// build builds a program and is its file.
func (f files) build(ctx context.Context, pkg string) (string, error) {
	binary := filepath.Join(f.dir, filepath.Base(pkg))
	_, err := command(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, pkg)
	return binary, err
}
