package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/warren-mesh/warren/bench/report"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/checkpoint"
)

// Where, on the agent's node, the API server is reached: by the agent, and by the informer that it is compared with.
const (
	agentRelay    = "127.0.0.1:7443"
	informerRelay = "127.0.0.1:7444"
)

// scene is a lab with one agent, a node on which the same is done by hand, and the fleet.
type scene struct {
	*lab.Lab
	options options
	out     io.Writer
	report  figures

	// node has the agent, and the informer; hand has what is made by hand.
	node, hand *lab.Node
	fleet      *fleet
	// agentBytes and informerBytes are what the API server sends to each.
	agentBytes, informerBytes           *relay
	agentKubeconfig, informerKubeconfig string
}

func newScene(ctx context.Context, o options, out io.Writer) (*scene, error) {
	l, err := lab.Start(ctx, lab.Options{
		Name: "bench-mesh", Nodes: 2, PodFamilies: lab.Dual, PodCIDRs: clusterCIDRs, WireGuard: o.wireguard, NoAgents: true, Out: out,
	})
	if err != nil {
		return nil, err
	}
	s := &scene{Lab: l, options: o, out: out, report: figures{progress: out}, node: l.Nodes()[0], hand: l.Nodes()[1]}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *scene) build(ctx context.Context) error {
	config := rest.CopyConfig(s.Cluster().AdminConfig())
	target := strings.TrimPrefix(config.Host, "https://")
	var err error
	if s.fleet, err = newFleet(s.Cluster().Admin(), config, s.out); err != nil {
		return err
	}
	if s.agentBytes, err = newRelay(ctx, s.node, s.Switch(), agentRelay, target); err != nil {
		return err
	}
	if s.informerBytes, err = newRelay(ctx, s.node, s.Switch(), informerRelay, target); err != nil {
		return err
	}
	credential, err := s.Cluster().AgentKubeconfig(ctx, s.node.Name)
	if err != nil {
		return err
	}
	if s.agentKubeconfig, err = s.relayed(credential, "agent", agentRelay); err != nil {
		return err
	}
	s.informerKubeconfig, err = s.relayed(credential, "informer", informerRelay)
	return err
}

// Close ends the lab and what belongs to it.
func (s *scene) Close() error {
	var errs []error
	for _, r := range []*relay{s.agentBytes, s.informerBytes} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(append(errs, s.Lab.Close())...)
}

// relayed is a copy of a kubeconfig that leads through a relay.
func (s *scene) relayed(kubeconfig, name, address string) (string, error) {
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return "", fmt.Errorf("reading the agent's credential: %w", err)
	}
	for _, c := range config.Clusters {
		host, _, _ := strings.Cut(strings.TrimPrefix(c.Server, "https://"), ":")
		c.Server, c.TLSServerName = "https://"+address, host
	}
	path := filepath.Join(s.Dir(), name+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("writing the agent's credential: %w", err)
	}
	return path, nil
}

// startAgent starts the agent and waits until it has a plan with so many peers in the kernel. It returns the first reconcile.
func (s *scene) startAgent(ctx context.Context, peers int) (reconcile, error) {
	log, err := openLog(s.node.AgentLog())
	if err != nil {
		return reconcile{}, err
	}
	if err := s.node.StartAgent(ctx, "--kubeconfig", s.agentKubeconfig, "--log-level", "debug"); err != nil {
		return reconcile{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var first *reconcile
	for {
		all, err := log.read()
		if err != nil && !os.IsNotExist(err) {
			return reconcile{}, err
		}
		for _, r := range all {
			if first == nil {
				first = &r
			}
			if r.peers == peers {
				return *first, s.node.WaitReady(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return reconcile{}, fmt.Errorf("waiting for the agent's %d peers: %w; the first plan is %+v", peers, context.Cause(ctx), first)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// clean takes from the agent's node what the agent has left, but for its key.
func (s *scene) clean(ctx context.Context) error {
	if err := s.node.StopAgent(ctx); err != nil {
		return err
	}
	for _, command := range []string{
		"ip link delete warren0", "ip -4 route flush proto 87", "ip -6 route flush proto 87", "nft delete table inet warren-mesh", "nft delete table inet warren-policy",
	} {
		words := strings.Fields(command)
		if _, err := s.node.Run(ctx, words[0], words[1:]...); err != nil {
			return err
		}
	}
	for _, name := range []string{"plan", checkpoint.PolicyName} {
		if err := os.Remove(filepath.Join(s.node.StateDir(), name)); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("removing the checkpoint: %w", err)
		}
	}
	return nil
}

// setting says what the figures were measured on, in general terms.
func (s *scene) setting(ctx context.Context, node *corev1.Node) map[string]string {
	metadata := metav1.PartialObjectMetadata{ObjectMeta: node.ObjectMeta}
	bare := metadata.DeepCopy()
	bare.ManagedFields = nil
	implementation := "kernel"
	if out, err := s.node.Run(ctx, "ip", "-details", "link", "show", "warren0"); err != nil || !strings.Contains(out, "wireguard") {
		implementation = "userspace, in a process of its own"
	}
	return map[string]string{
		"WireGuard": implementation,
		"kernel":    report.Kernel(),
		"CPUs":      fmt.Sprintf("%d, %s; shared with the API server, etcd and the load", runtime.NumCPU(), runtime.GOARCH),
		"a Node": fmt.Sprintf("%d bytes in protobuf with %d images; its metadata %d, %d of them managedFields", node.Size(), images,
			metadata.Size(), metadata.Size()-bare.Size()),
		"samples": fmt.Sprintf("%d starts, %d events of each kind, heartbeats for %s and %s", s.options.starts, s.options.events,
			s.options.idle, s.options.stress),
	}
}
