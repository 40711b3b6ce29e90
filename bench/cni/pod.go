package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/warren-mesh/warren/e2e/lab"
)

// newPods makes pods as kubelet finds them, Pod objects and network namespaces, and gives their names.
func (s *scene) newPods(ctx context.Context, n *lab.Node, count int) ([]string, error) {
	names := make([]string, count)
	for i := range names {
		s.made++
		names[i] = fmt.Sprintf("bench%d", s.made)
		object := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: names[i], Labels: podLabels},
			Spec:       corev1.PodSpec{NodeName: n.Name, Containers: []corev1.Container{{Name: "one", Image: "none"}}},
		}
		if _, err := s.pods().Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return nil, fmt.Errorf("making Pod %s: %w", names[i], err)
		}
		if _, err := n.Run(ctx, "ip", "netns", "add", names[i]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (s *scene) dropPods(ctx context.Context, n *lab.Node, names []string) error {
	for _, name := range names {
		if _, err := n.Run(ctx, "ip", "netns", "delete", name); err != nil {
			return err
		}
		if err := s.pods().Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			return fmt.Errorf("deleting Pod %s: %w", name, err)
		}
	}
	return nil
}

// settle waits until no more links than these are there: what a DEL left to be done is not to be done in the other's time.
func settle(ctx context.Context, n *lab.Node, most int) error {
	return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		now, err := links(ctx, n)
		return now <= most, err
	})
}

// links are how many a node has.
func links(ctx context.Context, n *lab.Node) (int, error) {
	out, err := n.Run(ctx, "ip", "-o", "link", "show", "type", "veth")
	if err != nil {
		return 0, fmt.Errorf("counting links: %w", err)
	}
	return strings.Count(out, "\n"), nil
}

func (s *scene) pods() typedcorev1.PodInterface {
	return s.lab.Cluster().Admin().CoreV1().Pods(namespace)
}

// call runs cnitool for a pod, and says how long that took, in milliseconds.
func (s *scene) call(ctx context.Context, who subject, command, pod string) (float64, error) {
	cmd := who.node.Command(ctx, s.tools+"/cnitool", command, who.network, "/run/netns/"+pod)
	cmd.Env = append(cmd.Env, "NETCONFPATH="+who.confDir, "CNI_PATH="+who.node.CNIBinDir()+":"+s.tools,
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE="+namespace+";K8S_POD_NAME="+pod)
	out, err := cmd.CombinedOutput()
	took := time.Since(cmd.Started)
	if err != nil {
		return 0, fmt.Errorf("%s: cnitool %s: %w: %s", who.name, command, err, out)
	}
	return float64(took) / float64(time.Millisecond), nil
}

// callAll runs it for all pods at once, and says how long each took.
func (s *scene) callAll(ctx context.Context, who subject, command string, pods []string) ([]float64, error) {
	took := make([]float64, len(pods))
	group, ctx := errgroup.WithContext(ctx)
	for i, pod := range pods {
		group.Go(func() (err error) {
			took[i], err = s.call(ctx, who, command, pod)
			return err
		})
	}
	return took, group.Wait()
}
