package kube

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/ipam"
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
	ours, err := newOurClient(config, -1, 0)
	if err != nil {
		return survey.Cluster{}, err
	}
	return readSurvey(ctx, client, ours)
}

// readSurvey reads the Pods first: what they have addresses of is older.
func readSurvey(ctx context.Context, client kubernetes.Interface, ours rest.Interface) (c survey.Cluster, err error) {
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
	byNode, byName, err := readPools(ctx, ours, &c)
	if err != nil {
		return c, err
	}
	for o := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := client.CoreV1().Nodes().List(ctx, o)
		if err != nil {
			return c, fmt.Errorf("reading all Nodes: %w", err)
		}
		for i := range page.Items {
			n := &page.Items[i]
			node := mesh.ParseNode(mesh.Fields{
				Name: n.Name, UID: string(n.UID), Created: n.CreationTimestamp.Time, Annotations: n.Annotations, PodCIDRs: n.Spec.PodCIDRs,
			})
			grantBlocks(&node, n.Labels, byNode[n.Name], byName)
			c.Nodes = append(c.Nodes, node)
		}
		if o.Continue = page.Continue; o.Continue == "" {
			return c, nil
		}
	}
}

// readPools reads pools and blocks, and gives the blocks by the node that they name and the pools that count by name. A cluster without
// their types has none.
func readPools(ctx context.Context, ours rest.Interface, c *survey.Cluster) (byNode map[string][]ipam.Block, byName map[string]ipam.Pool, err error) {
	var pools v1alpha1.IPPoolList
	var blocks v1alpha1.IPBlockList
	err = ours.Get().Resource(v1alpha1.ResourceIPPools).Do(ctx).Into(&pools)
	if err == nil {
		err = ours.Get().Resource(v1alpha1.ResourceIPBlocks).Do(ctx).Into(&blocks)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, nil, fmt.Errorf("reading pools and blocks: %w", err)
	}
	var set poolSet
	for i := range pools.Items {
		set.set(&pools.Items[i])
	}
	view := set.snapshot()
	c.Pools, byNode = view.sorted, map[string][]ipam.Block{}
	for _, r := range view.refusals {
		c.Unsound = append(c.Unsound, r.Detail)
	}
	for i := range blocks.Items {
		block, err := readBlock(&blocks.Items[i])
		if err != nil {
			c.Unsound = append(c.Unsound, err.Error())
			continue
		}
		c.Blocks = append(c.Blocks, block)
		byNode[block.Node] = append(byNode[block.Node], block)
	}
	return byNode, view.byName, nil
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
