package kube

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/warren-mesh/warren/mesh"
)

// maxAddresses is how many addresses of the own Node are read: a claim has room for 64 endpoints, and no node has as many.
const maxAddresses = 32

// Own is what the agent reads of its own Node beyond what it reads of every Node. The zero value: there is none yet.
type Own struct {
	Exists bool
	// UID changes when the Node is deleted and made anew.
	UID string
	// Addresses are the Node's InternalIPs and then its ExternalIPs, each once.
	Addresses []netip.Addr
	// Published are the annotations of a claim as they stand on the Node now.
	Published map[string]string
	// EndpointOverride is the operator's annotation mesh.AnnotationEndpointOverride; empty when there is none.
	EndpointOverride string
	// Labelled says that mesh.LabelChanged is there.
	Labelled bool
	// Labels are the Node's but for mesh.LabelChanged; empty unless Options.WatchPools.
	Labels labels.Set
	// NetworkUnavailable is the status of the condition of that name; empty when there is none.
	NetworkUnavailable string
	// Problems say which of the Node's addresses were left out, and why.
	Problems []string
}

// Equal says whether two are the same in every field.
func (o Own) Equal(p Own) bool {
	return o.Exists == p.Exists && o.UID == p.UID && slices.Equal(o.Addresses, p.Addresses) &&
		maps.Equal(o.Published, p.Published) && o.EndpointOverride == p.EndpointOverride && o.Labelled == p.Labelled && maps.Equal(o.Labels, p.Labels) &&
		o.NetworkUnavailable == p.NetworkUnavailable && slices.Equal(o.Problems, p.Problems)
}

// Publishes says whether the claim stands on the Node as PublishClaim would put it there.
func (o Own) Publishes(claim mesh.Claim) bool {
	return o.Exists && maps.Equal(o.Published, claim.Annotations())
}

// readOwn reads the own Node.
func readOwn(node *corev1.Node) Own {
	own := Own{Exists: true, UID: string(node.UID)}
	own.Published = keepAnnotations(node.Annotations)
	own.EndpointOverride = own.Published[mesh.AnnotationEndpointOverride]
	_, own.Labelled = node.Labels[mesh.LabelChanged]
	delete(own.Published, mesh.AnnotationEndpointOverride)
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeNetworkUnavailable {
			own.NetworkUnavailable = string(condition.Status)
		}
	}
	own.Addresses, own.Problems = readAddresses(node.Status.Addresses)
	return own
}

// readAddresses never fails as a whole: a node with one good address is reachable.
func readAddresses(listed []corev1.NodeAddress) (addrs []netip.Addr, problems []string) {
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range listed {
			if a.Type != kind {
				continue
			}
			addr, err := parseAddress(a.Address)
			switch {
			case err != nil:
				problems = append(problems, fmt.Sprintf("status.addresses: %s %v", kind, err))
			case slices.Contains(addrs, addr):
			case len(addrs) == maxAddresses:
				return addrs, append(problems, fmt.Sprintf("status.addresses: only the first %d are read", maxAddresses))
			default:
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, problems
}

// parseAddress reads an address at which another node can reach this one.
func parseAddress(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%.64q is not an IPv4 or IPv6 address", text)
	}
	addr = addr.Unmap()
	if addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast() {
		return netip.Addr{}, fmt.Errorf("%s is of no use to other nodes", addr)
	}
	return addr, nil
}
