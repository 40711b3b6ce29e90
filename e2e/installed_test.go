package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/warren-mesh/warren/e2e/lab"
)

// tunnelSocket is the manifests'.
const tunnelSocket = "/run/warren/tunnel.sock"

// TestAsInstalled: agents with the capabilities of manifests/base and no others do all that they do, with their state in a folder as a kubelet
// makes it. The userspace device is run by a process of its own: the agent comes and goes without a packet lost, and where that process
// ended, the next one is asked.
func TestAsInstalled(t *testing.T) {
	ctx := testContext(t)
	agent, tunnel := capabilities(t, "daemonset.yaml"), capabilities(t, "tunnel.yaml")
	s := bareScene(ctx, t, lab.Options{Nodes: 2, PodFamilies: lab.Dual, WireGuard: "userspace"})
	var stop func()
	for _, n := range s.Nodes() {
		if err := os.Chmod(n.StateDir(), 0o755); err != nil {
			t.Fatal(err)
		}
		stop = serveTunnels(ctx, t, n, tunnel) // n2's, in the end
		n.UseAgent(confined(t, n, "warrend", agent))
		s.startAgent(ctx, t, n, "--tunnel-socket", tunnelSocket)
	}
	for _, n := range s.Nodes() {
		s.addPod(ctx, t, n, "p1")
		if got := run(ctx, t, &n.Host, "", "sh", "-c", "grep CapEff /proc/$(pidof warrend | tr ' ' '\n' | sort -n | tail -1)/status"); !strings.HasSuffix(got, "201000\n") {
			t.Errorf("%s: the agent's capabilities are %s", n.Name, got)
		}
	}
	s.meshed(ctx, t)
	n2 := s.Node("n2")
	s.undisturbed(ctx, t, userspace, undisturbed{"agent restarted", 0, func() error {
		return errors.Join(n2.StopAgent(ctx), n2.StartAgent(ctx, "--tunnel-socket", tunnelSocket), n2.WaitReady(ctx))
	}})
	stop()
	serveTunnels(ctx, t, n2, tunnel)
	s.meshed(ctx, t)
	if err := s.Cluster().Apply(ctx, []byte(np("default", "deny", "podSelector: {}\npolicyTypes: [Ingress]"))); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 10*time.Second, func() error {
		if reached := reachable(ctx, &s.pod("n2").Host, s.pod("n1")); len(reached) > 0 {
			return fmt.Errorf("a policy denies it, and %s are reached", reached)
		}
		return nil
	})
	s.sealed(ctx, t)
}

// TestWithoutACapability: an agent that lacks one names it and changes nothing.
func TestWithoutACapability(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	all := capabilities(t, "daemonset.yaml")
	s := bareScene(ctx, t, lab.Options{Nodes: 1})
	n1 := s.Node("n1")
	for i, name := range all {
		program := confined(t, n1, "warrend", slices.Delete(slices.Clone(all), i, i+1))
		out, err := n1.Command(ctx, program, "--node-name", "n1", "--cluster-cidr", "10.244.0.0/16").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "lacks the capabilities "+name) {
			t.Errorf("without %s: %v: %s", name, err, out)
		}
	}
	if got := run(ctx, t, &n1.Host, "", "nft", "list", "tables"); strings.Contains(got, "warren") {
		t.Errorf("it made tables: %s", got)
	}
}

// capabilities are what a manifest's first container has.
func capabilities(t *testing.T, manifest string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../manifests/base", manifest))
	if err != nil {
		t.Fatal(err)
	}
	var set appsv1.DaemonSet
	if err := yaml.UnmarshalStrict(text, &set); err != nil {
		t.Fatal(err)
	}
	for _, c := range set.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add {
		names = append(names, string(c))
	}
	return names
}

// confined is a program that runs another of the lab's with these capabilities at most, and no way to gain any.
func confined(t *testing.T, n *lab.Node, program string, capabilities []string) string {
	t.Helper()
	words := []string{"-all"}
	for _, c := range capabilities {
		words = append(words, "+"+strings.ToLower(c))
	}
	script := fmt.Sprintf("#!/bin/sh\nexec setpriv --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=%s %s \"$@\"\n",
		strings.Join(words, ","), n.Command(t.Context(), program).Path)
	path := filepath.Join(t.TempDir(), program)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveTunnels runs who runs userspace devices on a node, until it is stopped or the lab ends.
func serveTunnels(ctx context.Context, t *testing.T, n *lab.Node, capabilities []string) (stop func()) {
	t.Helper()
	cmd := n.Command(ctx, confined(t, n, "warrend", capabilities), "tunnel", "--serve", tunnelSocket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, 5*time.Second, func() error {
		_, err := n.Run(ctx, "test", "-S", tunnelSocket)
		return err
	})
	return func() {
		if err := errors.Join(cmd.Process.Kill(), cmd.Wait()); err == nil {
			t.Error("it ended before")
		}
		run(ctx, t, &n.Host, "", "rm", tunnelSocket)
	}
}
