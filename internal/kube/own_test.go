package kube

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

var byText = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestReadAddresses(t *testing.T) {
	many := make([]corev1.NodeAddress, 40)
	for i := range many {
		many[i] = corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("192.0.2.%d", i+1)}
	}
	tests := []struct {
		name     string
		listed   []corev1.NodeAddress
		want     []netip.Addr
		problems []string
	}{
		{name: "none"},
		{
			name: "internal before external, each once, names passed over",
			listed: []corev1.NodeAddress{
				{Type: corev1.NodeHostName, Address: "n1"},
				{Type: corev1.NodeExternalIP, Address: "203.0.113.1"},
				{Type: corev1.NodeInternalIP, Address: "192.0.2.1"},
				{Type: corev1.NodeInternalIP, Address: "2001:db8::1"},
				{Type: corev1.NodeExternalIP, Address: "192.0.2.1"},
			},
			want: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("203.0.113.1")},
		},
		{
			name:   "an IPv4 address in IPv6 clothes is IPv4",
			listed: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "::ffff:192.0.2.1"}},
			want:   []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		},
		{
			name: "bad ones are left out and the good one stays",
			listed: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: "192.0.2.300"},
				{Type: corev1.NodeInternalIP, Address: "\xff\n"},
				{Type: corev1.NodeInternalIP, Address: "fe80::1%eth0"},
				{Type: corev1.NodeInternalIP, Address: "fe80::1"},
				{Type: corev1.NodeInternalIP, Address: "192.0.2.1"},
				{Type: corev1.NodeExternalIP, Address: "127.0.0.1"},
				{Type: corev1.NodeExternalIP, Address: ""},
			},
			want: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
			problems: []string{
				`status.addresses: InternalIP "192.0.2.300" is not an IPv4 or IPv6 address`,
				`status.addresses: InternalIP "\xff\n" is not an IPv4 or IPv6 address`,
				`status.addresses: InternalIP "fe80::1%eth0" is not an IPv4 or IPv6 address`,
				`status.addresses: InternalIP fe80::1 is of no use to other nodes`,
				`status.addresses: ExternalIP 127.0.0.1 is of no use to other nodes`,
				`status.addresses: ExternalIP "" is not an IPv4 or IPv6 address`,
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, problems := readAddresses(test.listed)
			if diff := cmp.Diff(test.want, got, byText); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.problems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	if got, problems := readAddresses(many); len(got) != maxAddresses || len(problems) != 1 {
		t.Errorf("of %d addresses %d are read, problems %q", len(many), len(got), problems)
	}
}

func TestReadOwn(t *testing.T) {
	got := readOwn(fullNode("n1"))
	want := Own{
		Exists:             true,
		UID:                "uid-1",
		Labelled:           true,
		Addresses:          []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Published:          map[string]string{mesh.AnnotationPublicKey: "key"},
		EndpointOverride:   "192.0.2.9:51820",
		NetworkUnavailable: "True",
	}
	if diff := cmp.Diff(want, got, byText); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOwnPublishes(t *testing.T) {
	claim := testClaim(7)
	node := fullNode("n1")
	node.Annotations = claim.Annotations()
	node.Annotations[mesh.AnnotationEndpointOverride] = "192.0.2.9:51820"
	node.Annotations["foreign"] = "x"
	if own := readOwn(node); !own.Publishes(claim) {
		t.Errorf("the claim stands on the Node, and is not seen in %v", own.Published)
	}
	for name := range claim.Annotations() {
		broken := node.DeepCopy()
		delete(broken.Annotations, name)
		if readOwn(broken).Publishes(claim) {
			t.Errorf("%s is gone, and nobody sees it", name)
		}
		broken.Annotations[name] = "changed"
		if readOwn(broken).Publishes(claim) {
			t.Errorf("%s is changed, and nobody sees it", name)
		}
	}
	if (Own{}).Publishes(claim) {
		t.Error("a Node that is not there publishes")
	}
}

// testClaim is a claim with something in every field, and a key of n.
func testClaim(n byte) mesh.Claim {
	return mesh.Claim{
		PublicKey:     testKey(n),
		Endpoints:     []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:51820"), netip.MustParseAddrPort("[2001:db8::1]:51820")},
		PodCIDRs:      []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24")},
		MeshAddresses: []netip.Addr{netip.MustParseAddr("10.244.0.1")},
		Version:       "v0.0.0-test",
	}
}

func testKey(n byte) identity.PublicKey {
	key := identity.PublicKey{31: 1}
	key[0] = n
	return key
}
