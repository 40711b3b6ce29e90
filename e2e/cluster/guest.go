package cluster

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/warren-mesh/warren/e2e/cluster/node"
	"github.com/warren-mesh/warren/e2e/lab"
)

// Guest makes a running pod a host of the lab, with the lab's probes of traffic.
func (c *Cluster) Guest(pod *corev1.Pod) (*lab.Guest, error) {
	n := c.Lab.Node(pod.Spec.NodeName)
	if n == nil {
		return nil, fmt.Errorf("pod %s is on node %q, which there is not", pod.Name, pod.Spec.NodeName)
	}
	pids, err := node.Processes(c.options.Name, n.Name, "pod"+string(pod.UID))
	if err != nil {
		return nil, err
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("pod %s on %s has no process", pod.Name, n.Name)
	}
	var addresses []netip.Addr
	for _, ip := range pod.Status.PodIPs {
		address, err := netip.ParseAddr(ip.IP)
		if err != nil {
			return nil, fmt.Errorf("pod %s: %w", pod.Name, err)
		}
		addresses = append(addresses, address)
	}
	return n.Guest(pod.Name, pids[0], addresses)
}
