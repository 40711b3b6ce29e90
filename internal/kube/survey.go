package kube

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/mesh"
)

// Survey reads what all Nodes were given and what all Pods have of it, once, by whoever's credentials the kubeconfig has.
func Survey(ctx context.Context, kubeconfig, userAgent string) (survey.Cluster, error) {
	config, err := loadConfig(kubeconfig)
	if err != nil {
		return survey.Cluster{}, err
	}
	config.UserAgent, config.Timeout = userAgent, requestTimeout
	client, err := kubernetes.NewForConfig(coreConfig(config, -1, 0))
	if err != nil {
		return survey.Cluster{}, fmt.Errorf("making a Kubernetes client: %w", err)
	}
	return readSurvey(ctx, client)
}

// readSurvey reads the Pods first: their Nodes are older.
func readSurvey(ctx context.Context, client kubernetes.Interface) (c survey.Cluster, err error) {
	for o := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, o)
		if err != nil {
			return c, fmt.Errorf("reading all Pods: %w", err)
		}
		for i := range page.Items {
			if p := &page.Items[i]; hasNetwork(p) {
				c.Pods = append(c.Pods, surveyed(p))
			}
		}
		if o.Continue = page.Continue; o.Continue == "" {
			break
		}
	}
	for o := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := client.CoreV1().Nodes().List(ctx, o)
		if err != nil {
			return c, fmt.Errorf("reading all Nodes: %w", err)
		}
		for i := range page.Items {
			n := &page.Items[i]
			c.Nodes = append(c.Nodes, mesh.ParseNode(mesh.Fields{
				Name: n.Name, UID: string(n.UID), Created: n.CreationTimestamp.Time, Annotations: n.Annotations, PodCIDRs: n.Spec.PodCIDRs,
			}))
		}
		if o.Continue = page.Continue; o.Continue == "" {
			return c, nil
		}
	}
}

// hasNetwork says whether a Pod is on a node, has not ended, and has another network than its node's.
func hasNetwork(p *corev1.Pod) bool {
	return p.Spec.NodeName != "" && !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

func surveyed(p *corev1.Pod) survey.Pod {
	out := survey.Pod{Name: p.Namespace + "/" + p.Name, Node: p.Spec.NodeName, Running: p.Status.Phase == corev1.PodRunning}
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			out.Addresses = append(out.Addresses, a.Unmap())
		}
	}
	return out
}
