package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
	"github.com/warren-mesh/warren/internal/checkpoint"
)

// notFromN1 lets pods be reached by all addresses of pods, which a pod that is started anew may not have had before, and not by n1 itself.
var notFromN1 = np("default", "not-from-n1", `podSelector: {}
ingress:
- from:
  - ipBlock: {cidr: 10.244.0.0/16, except: [10.244.0.1/32]}
  - ipBlock: {cidr: "fd00:10:244::/48", except: ["fd00:10:244::1/128"]}`)

// rulesSaved waits until the rules of a node's pods are on its disk, and isolate them.
func rulesSaved(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	eventually(ctx, t, 20*time.Second, func() error {
		rules, err := checkpoint.NewPolicy(n.StateDir(), n.Name).Load()
		for _, pod := range rules.Pods {
			if pod.Ingress != "" {
				return err
			}
		}
		return errors.Join(err, errors.New("the rules on disk isolate no pod"))
	})
}

// denied is an error where a node itself reaches another's pod, which the pod's rules do not allow.
func denied(ctx context.Context, from *lab.Node, to *lab.Pod) error {
	if reached := reachable(ctx, &from.Host, to); len(reached) > 0 {
		return fmt.Errorf("%s reaches %s, which no policy allows", from.Name, reached)
	}
	return nil
}

// reported is an error unless the API server knows a pod's addresses.
func reported(ctx context.Context, s *scene, p *lab.Pod) error {
	object, err := s.Cluster().Admin().CoreV1().Pods(p.Namespace).Get(ctx, p.ObjectName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if got := fmt.Sprint(object.Status.PodIPs); got != fmt.Sprint(podIPs(p)) {
		return fmt.Errorf("Pod %s has %s, want %s", p.ObjectName, got, p.Addresses)
	}
	return nil
}

func podIPs(p *lab.Pod) (ips []corev1.PodIP) {
	for _, a := range p.Addresses {
		ips = append(ips, corev1.PodIP{IP: a.String()})
	}
	return ips
}

// reachable are those addresses of a pod that a host reaches.
func reachable(ctx context.Context, from *lab.Host, to *lab.Pod) (reached []netip.Addr) {
	for _, addr := range to.Addresses {
		if quickPing(ctx, from, addr) == nil {
			reached = append(reached, addr)
		}
	}
	return reached
}
