package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/warren-mesh/warren/e2e/lab"
)

// namespace is where the bench's pods are.
const namespace = metav1.NamespaceDefault

// podLabels are what every pod of the bench has.
var podLabels = map[string]string{"app": "bench"}

// subject is one of the two that are compared: a node with nobody else's pods, and a folder with its network configuration.
type subject struct {
	name, network, confDir string
	node                   *lab.Node
}

// scene is a node with an agent, and one without on which the reference plugins are.
type scene struct {
	lab          *lab.Lab
	tools        string
	warren, them subject
	made         int
}

func newScene(ctx context.Context, root string, out io.Writer) (*scene, error) {
	tools, err := lab.BuildReferences(ctx, out, "ptp", "host-local", "cnitool")
	if err != nil {
		return nil, err
	}
	s := &scene{tools: tools}
	// A lab is in /run, which is no disk on most machines: this one's node has its leases where those of host-local are.
	base := filepath.Join(root, ".cache", "bench-cni")
	if err := errors.Join(os.MkdirAll(base, 0o750), os.Setenv("XDG_RUNTIME_DIR", base)); err != nil {
		return nil, err
	}
	s.lab, err = lab.Start(ctx, lab.Options{Name: "bench-cni", Nodes: 2, NodeMask4: 20, Out: out})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.isolate(ctx), s.configure(ctx), s.configured(ctx)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// configured waits for the agent's network configuration, which it writes when it can serve.
func (s *scene) configured(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		found, err := filepath.Glob(filepath.Join(s.warren.confDir, "*.conflist"))
		return len(found) > 0, err
	})
	if err != nil {
		return fmt.Errorf("waiting for a network configuration in %s: %w", s.warren.confDir, err)
	}
	return nil
}

// isolate has every pod of the bench be the subject and a peer of a policy, so that ADD has rules to wait for.
func (s *scene) isolate(ctx context.Context) error {
	all := metav1.LabelSelector{MatchLabels: podLabels}
	_, err := s.lab.Cluster().Admin().NetworkingV1().NetworkPolicies(namespace).Create(ctx, &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "among-themselves"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: all,
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &all}}}},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &all}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making the pods' policy: %w", err)
	}
	return nil
}

func (s *scene) close() error { return s.lab.Close() }

// configure writes the baseline's network configuration, and takes the agent from its node; Warren's is the one that its agent wrote.
func (s *scene) configure(ctx context.Context) error {
	ours, theirs := s.lab.Nodes()[0], s.lab.Nodes()[1]
	if err := theirs.StopAgent(ctx); err != nil {
		return err
	}
	dir := filepath.Join(s.lab.Dir(), "ptp")
	leases := filepath.Join(dir, "leases")
	s.warren = subject{"Warren", "warren", ours.CNIConfDir(), ours}
	s.them = subject{"ptp", "bench-ptp", dir, theirs}
	conf := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "bench-ptp", "plugins": [{"type": "ptp", "ipMasq": false,
		"ipam": {"type": "host-local", "subnet": "10.99.0.0/20", "dataDir": %q, "routes": [{"dst": "0.0.0.0/0"}]}}]}`, leases)
	if err := os.MkdirAll(leases, 0o750); err != nil {
		return err
	}
	// host-local flushes nothing: what it writes is on the disk when it answers, as Warren's leases are, where the folder says so.
	if out, err := theirs.Run(ctx, "chattr", "+S", "+D", leases); err != nil {
		return fmt.Errorf("having host-local's leases written through (the repository has to be on a file system that can, like ext4): %w: %s", err, out)
	}
	return os.WriteFile(filepath.Join(dir, "10-ptp.conflist"), []byte(conf), 0o600)
}
