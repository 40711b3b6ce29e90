package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/warren-mesh/warren/bench/report"
	"github.com/warren-mesh/warren/e2e/cluster"
)

// kubernetesModule is the folder of the module that Kubernetes' suite is built in.
const kubernetesModule = "e2e/conformance/kubernetes"

// house is where suites run: their programs, and the cluster that they judge.
type house struct {
	options *options
	root    string // the repository
	dir     string // what is built
	cluster *cluster.Cluster
	writing sync.Mutex // one result after the other
}

// path is of what is built.
func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// room is a house to one suite.
type room struct {
	*house
	dir string // what its programs write
}

// file is of what the suite's programs write.
func (r *room) file(name string) string { return filepath.Join(r.dir, name) }

// build makes the programs of all suites and the images that they want. Go's cache makes it seconds after the first time.
func (h *house) build(ctx context.Context) error {
	if err := os.MkdirAll(h.dir, 0o755); err != nil { //nolint:gosec // programs anybody may run
		return err
	}
	for _, b := range []struct{ from, verb, program, pkg string }{
		{kubernetesModule, "test -c", "e2e.test", "k8s.io/kubernetes/test/e2e"},
		{kubernetesModule, "build", "ginkgo", "github.com/onsi/ginkgo/v2/ginkgo"},
		{kubernetesModule, "build", "regression-issue-74839", "k8s.io/kubernetes/test/images/regression-issue-74839"},
		{"e2e/conformance/policyapi", "test -c", "policyapi.test", "."},
		{"policy/cyclonus", "build", "cyclonus", "./generate"},
		{"policy/cyclonus", "build", "worker", "github.com/mattfenwick/cyclonus/cmd/worker"},
		{"e2e/conformance/coredns", "build", "coredns", "."},
	} {
		fmt.Fprintf(h.options.out, "building %s\n", b.program)
		args := append(strings.Fields(b.verb), "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", h.path(b.program), b.pkg)
		if _, err := h.goCommand(ctx, b.from, args...); err != nil {
			return fmt.Errorf("building %s: %w", b.program, err)
		}
	}
	if _, err := h.goCommand(ctx, "manifests/render", "run", ".", "-o", h.path("warren.yaml"), "../../e2e/conformance/manifests"); err != nil {
		return fmt.Errorf("writing Warren's manifests: %w", err)
	}
	return errors.Join(h.writeTools(ctx), h.writeBusybox(ctx), h.writeServers())
}

// goCommand runs go in a module of the repository and returns what it writes to standard output.
func (h *house) goCommand(ctx context.Context, module string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // our own arguments
	cmd.Dir = filepath.Join(h.root, module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("go %s in %s: %w\n%s", args[0], module, err, said.String())
	}
	return strings.TrimSpace(string(out)), err
}

// prepare gives the cluster what suites expect beside a network: an API server that reaches pods, and a name server.
func (h *house) prepare(ctx context.Context) error {
	for _, n := range h.cluster.Lab.Nodes() {
		for _, prefix := range n.PodCIDRs {
			via := n.Address(prefix.Addr().Is4()).String()
			if _, err := h.cluster.Lab.Switch().Run(ctx, "ip", "route", "replace", prefix.String(), "via", via); err != nil {
				return err
			}
		}
	}
	if err := h.cluster.Lab.Cluster().Apply(ctx, dnsManifest); err != nil {
		return err
	}
	return h.cluster.WaitDaemonSet(ctx, "kube-system", "coredns")
}

// policyCRD is the file of the API that policies of the cluster are objects of. It is there before Warren, which otherwise looks for it now and then.
func (h *house) policyCRD(ctx context.Context) (string, error) {
	dir, err := h.goCommand(ctx, ".", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/network-policy-api")
	return filepath.Join(dir, "config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml"), err
}

// command runs a program on the underlay, beside the nodes. What it writes goes to NAME.log.
func (r *room) command(ctx context.Context, name string, args ...string) error {
	log, err := os.Create(r.file(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := r.cluster.Lab.Switch().Command(ctx, r.path(name), args...)
	cmd.Env = append(cmd.Env, "KUBECONFIG="+r.kubeconfig())
	cmd.Dir = r.dir
	cmd.Stdout, cmd.Stderr = log, log
	// Whoever is interrupted still cleans up and writes what it found.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Minute
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w (what it wrote is in %s)", name, err, strings.TrimPrefix(log.Name(), r.root+"/"))
	}
	return nil
}

// kubeconfig is the admin's, as it is used on the underlay.
func (h *house) kubeconfig() string { return h.cluster.Lab.Cluster().AdminKubeconfig() }

// setting is what has to be known to read a suite's result.
func (h *house) setting(ctx context.Context, s suite) [][2]string {
	of := func(program string, err error) string {
		if err != nil {
			return err.Error()
		}
		return program
	}
	kernel := "Linux " + report.Kernel()
	return [][2]string{
		{"suite", s.module + " " + of(h.goCommand(ctx, s.from, "list", "-m", "-f", "{{.Version}}", s.module))},
		{"Warren", of(h.warrenVersion(ctx))},
		{"cluster", fmt.Sprintf("%d nodes, IPv4 and IPv6, Kubernetes %s, kube-proxy in nftables mode, %s", h.options.nodes, of(h.serverVersion()), kernel)},
		{"command", "make conformance SUITES=" + s.name},
	}
}

// warrenVersion is the last commit of what runs on nodes: one of suites or of a report leaves a result as it was.
func (h *house) warrenVersion(ctx context.Context) (string, error) {
	product := []string{"--", "api", "cmd", "crypto", "internal", "ipam", "manifests", "mesh", "policy", ":(exclude)policy/cyclonus"}
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append(append([]string{"-C", h.root}, args...), product...)...).Output() //nolint:gosec // the repository
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("log", "-1", "--abbrev=12", "--format=%h")
	changed, errChanged := git("status", "--porcelain")
	if changed != "" {
		commit += ", changed"
	}
	return commit, errors.Join(err, errChanged)
}

func (h *house) serverVersion() (string, error) {
	version, err := h.cluster.Client().Discovery().ServerVersion()
	if err != nil {
		return "", err
	}
	return version.GitVersion, nil
}
