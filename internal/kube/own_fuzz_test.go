package kube

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/warren-mesh/warren/mesh"
)

// FuzzOwnNode: whatever stands in the own Node's status, no address is taken from it at which others could not reach the node, and none
// twice; what is left out is told.
func FuzzOwnNode(f *testing.F) {
	f.Add("InternalIP", "192.0.2.1", "ExternalIP", "2001:db8::1")
	f.Add("InternalIP", "::ffff:192.0.2.1", "InternalIP", "192.0.2.1")
	f.Add("ExternalIP", "fe80::1%eth0", "Hostname", "127.0.0.1")
	f.Fuzz(func(t *testing.T, kind1, address1, kind2, address2 string) {
		node := fullNode("n1")
		node.Annotations[mesh.AnnotationEndpointOverride] = address1
		node.Status.Addresses = []corev1.NodeAddress{
			{Type: corev1.NodeAddressType(kind1), Address: address1}, {Type: corev1.NodeAddressType(kind2), Address: address2},
		}
		own := readOwn(node)
		seen := map[netip.Addr]bool{}
		for _, a := range own.Addresses {
			if seen[a] || !a.IsValid() || a.Zone() != "" || a.Is4In6() || !a.IsGlobalUnicast() {
				t.Errorf("%s is taken from %v", a, node.Status.Addresses)
			}
			seen[a] = true
		}
		if read := len(own.Addresses) + len(own.Problems); read > 2 {
			t.Errorf("%d addresses and %d problems of 2", len(own.Addresses), len(own.Problems))
		}
	})
}

// FuzzServiceCIDR: whatever stands in a ServiceCIDR, what is taken from it is masked.
func FuzzServiceCIDR(f *testing.F) {
	f.Add("10.96.0.0/12", "fd00:10:96::/112")
	f.Add("10.96.0.1/12", "::ffff:10.96.0.0/108")
	f.Fuzz(func(t *testing.T, one, two string) {
		var set serviceSet
		set.set(&networkingv1.ServiceCIDR{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{one, two}}})
		for _, p := range set.snapshot() {
			if !p.IsValid() || p != p.Masked() {
				t.Errorf("%s is taken from %q and %q", p, one, two)
			}
		}
	})
}
