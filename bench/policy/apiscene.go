package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/warren-mesh/warren/bench/command"
	"github.com/warren-mesh/warren/bench/policy/cluster"
	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/policy"
)

// apiScene is a cluster whose objects are in a real API server, with one node that has an agent.
type apiScene struct {
	*lab.Lab
	cluster.Cluster
	node  *lab.Node
	admin kubernetes.Interface
}

// writers is how many requests are made at the same time.
const writers = 16

func newAPIScene(ctx context.Context, pods int, out io.Writer) (*apiScene, error) {
	l, err := lab.Start(ctx, lab.Options{Name: "bench-policy-agent", Nodes: 1, PodFamilies: lab.Dual, NoAgents: true, Out: out})
	if err != nil {
		return nil, err
	}
	s := &apiScene{Lab: l, Cluster: cluster.New(pods), node: l.Nodes()[0], admin: l.Cluster().Admin()}
	began := time.Now()
	if err := s.fill(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("making %d Pods: %w", pods, err), s.Close())
	}
	fmt.Fprintf(out, "%d Pods and %d NetworkPolicies in %s\n", pods, s.Namespaces*perNamespace, time.Since(began).Round(time.Second))
	return s, nil
}

// fill makes every object of the cluster. All pods have addresses; those of the agent's node come later.
func (s *apiScene) fill(ctx context.Context) error {
	if err := command.Each(ctx, writers, s.Namespaces, func(ctx context.Context, i int) error {
		n := s.Namespace(i)
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.Labels}}
		if _, err := s.admin.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return err
		}
		for _, p := range s.NetworkPolicies(i) {
			if _, err := s.admin.NetworkingV1().NetworkPolicies(p.Namespace).Create(ctx, p, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return command.Each(ctx, writers, s.Cluster.Pods, func(ctx context.Context, i int) error {
		if err := s.createPodObject(ctx, i); err != nil {
			return err
		}
		return s.reportAddresses(ctx, i)
	})
}

// createPodObject makes a Pod of another node, without an address.
func (s *apiScene) createPodObject(ctx context.Context, i int) error {
	p := s.Pod(i)
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels},
		Spec:       corev1.PodSpec{NodeName: "elsewhere", Containers: []corev1.Container{{Name: "one", Image: "none", Ports: containerPorts(p)}}},
	}
	for {
		_, err := s.admin.CoreV1().Pods(p.Namespace).Create(ctx, object, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) { // the namespace's ServiceAccount may not be there yet
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func containerPorts(p policy.Pod) (ports []corev1.ContainerPort) {
	for _, port := range p.Ports {
		ports = append(ports, corev1.ContainerPort{Name: port.Name, ContainerPort: int32(port.Port)})
	}
	return ports
}

// reportAddresses is what a kubelet does when a pod runs.
func (s *apiScene) reportAddresses(ctx context.Context, i int) error {
	p := s.Pod(i)
	patch, err := lab.RunningPatch(p.Addresses)
	if err != nil {
		return err
	}
	_, err = s.admin.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// startAgent starts the agent and waits until it enforces all there is. Then the node's pods come. It returns how long the first took, and
// what the agent has in memory in the end.
func (s *apiScene) startAgent(ctx context.Context) (took time.Duration, resident float64, err error) {
	began := time.Now()
	if err := s.node.StartAgent(ctx); err != nil {
		return 0, 0, err
	}
	if _, err := s.since(ctx, "Pod", histogram{}, s.Cluster.Pods); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	if err := s.node.WaitReady(ctx); err != nil {
		return 0, 0, err
	}
	for i := range agentLocals {
		p := s.Pod(i * cluster.PerNamespace)
		_, err := s.node.AddPodLike(ctx, lab.PodOptions{Namespace: p.Namespace, Name: fmt.Sprintf("own-%d", i), Labels: p.Labels, Ports: containerPorts(p)})
		if err != nil {
			return 0, 0, err
		}
	}
	resident, err = s.resident(ctx)
	return took, resident, err
}
