package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/mesh"
)

// hostileClaim is one attempt of n1 to be believed about more than itself, or to do harm by what it says.
type hostileClaim struct {
	name string
	// claim is what differs from n1's honest claim. raw, where it is given, is the whole patch instead.
	claim map[string]string
	raw   string
	// api is part of what the API server answers to everybody where it takes the claim from nobody.
	api string
	// reason and values are what the others refuse: each value in one refusal.
	reason mesh.Reason
	values []string
	// leftOut says that nothing of n1 is used. Otherwise all is that was honest.
	leftOut bool
}

// claimMore is an annotation under our prefix that nobody reads.
const claimMore = mesh.AnnotationPrefix + "more"

// claims are made one after the other, with n1's honest claim in between.
func (h *hostile) claims(ctx context.Context, t *testing.T) []hostileClaim {
	t.Helper()
	return slices.Concat(h.addresses(), h.publicKeys(ctx, t), h.endpoints(), h.sizes())
}

// addresses are claims of addresses that are not n1's.
func (h *hostile) addresses() []hostileClaim {
	own, victims := strings.Join(prefixTexts(h.Node("n1").PodCIDRs), ","), h.Node("n2").PodCIDRs
	beside := func(name string, cidrs ...string) hostileClaim {
		return hostileClaim{
			name: name, claim: map[string]string{mesh.AnnotationPodCIDRs: strings.Join(append(cidrs, own), ",")},
			reason: mesh.NotGranted, values: cidrs,
		}
	}
	subnet := strings.TrimSuffix(victims[0].Addr().String(), "0")
	subnet6 := strings.TrimSuffix(victims[1].String(), "/64")
	alone := beside("another's pod CIDRs, and not its own", prefixTexts(victims)...)
	alone.claim, alone.leftOut = map[string]string{mesh.AnnotationPodCIDRs: strings.Join(alone.values, ",")}, true
	meshAddress := func(name, addr string) hostileClaim {
		return hostileClaim{
			name: name, claim: map[string]string{mesh.AnnotationMeshAddresses: addr},
			reason: mesh.NotGranted, values: []string{"mesh address " + addr},
		}
	}
	return []hostileClaim{
		beside("another's pod CIDR", victims[0].String()),
		beside("another's pod CIDR of IPv6", victims[1].String()),
		alone,
		beside("supersets of another's", "10.244.0.0/23", "10.244.0.0/16", "10.0.0.0/8"),
		beside("supersets of another's of IPv6", "fd00:10:244::/63", "fd00:10:244::/48", "fd00::/8"),
		beside("subsets of another's", subnet+"0/25", subnet+"2/32"),
		beside("subsets of another's of IPv6", subnet6+"/65", subnet6+"2/128"),
		beside("the service CIDR", "10.96.0.0/16", "10.96.0.1/32", "10.96.0.0/12"),
		beside("the service CIDR of IPv6", "fd00:10:96::/112", "fd00:10:96::1/128", "fd00:10:96::/48"),
		beside("nodes' addresses", "172.30.0.12/32", "172.30.0.1/32", "172.30.0.0/16"),
		beside("everything", "0.0.0.0/0"),
		beside("everything of IPv6", "::/0"),
		beside("everything, in halves", "0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"),
		beside("the metadata address", "169.254.169.254/32", "169.254.0.0/16", "fd00:ec2::254/128"),
		beside("loopback and multicast", "127.0.0.0/8", "224.0.0.0/4", "::1/128", "ff00::/8", "fe80::/10"),
		meshAddress("another's mesh address", subnet+"1"),
		meshAddress("another's mesh address of IPv6", subnet6+"1"),
		malformed("IPv4 in IPv6", mesh.AnnotationPodCIDRs, "::ffff:"+subnet+"0/120", own),
		malformed("a CIDR with host bits", mesh.AnnotationPodCIDRs, subnet+"7/24", own),
		malformed("a CIDR of IPv6 with host bits", mesh.AnnotationPodCIDRs, subnet6+"7/64", own),
		malformed("a CIDR of too many bits", mesh.AnnotationPodCIDRs, subnet+"0/33", own),
		malformed("a CIDR of IPv6 of too many bits", mesh.AnnotationPodCIDRs, subnet6+"/129", own),
	}
}

// publicKeys are claims of keys that are not n1's, and of what is no key.
func (h *hostile) publicKeys(ctx context.Context, t *testing.T) []hostileClaim {
	t.Helper()
	key := h.honest[mesh.AnnotationPublicKey]
	return []hostileClaim{
		h.stolen("n2", h.keyOf(ctx, t, "n2")),
		h.stolen("n3", h.keyOf(ctx, t, "n3")),
		// The node waits for its NodeKey: that is no refusal.
		{name: "a key without a NodeKey", claim: map[string]string{mesh.AnnotationPublicKey: testPublicKey("new").String()}, leftOut: true},
		malformed("the all-zero key", mesh.AnnotationPublicKey, strings.Repeat("A", 43)+"="),
		malformed("a key of 31 bytes", mesh.AnnotationPublicKey, key[:40]+"AA=="),
		malformed("a key of 33 bytes", mesh.AnnotationPublicKey, strings.Repeat("B", 44)),
		malformed("no key", mesh.AnnotationPublicKey, ""),
		malformed("a key with a line end", mesh.AnnotationPublicKey, key+"\n"),
		malformed("a key that is not base64", mesh.AnnotationPublicKey, "not base64!"),
		malformed("a key whose last bits are set", mesh.AnnotationPublicKey, strings.Repeat("A", 42)+"B="),
	}
}

// endpoints are claims of where n1 may be reached that would send the others' packets astray.
func (h *hostile) endpoints() []hostileClaim {
	honest := h.honest[mesh.AnnotationEndpoints]
	bad := func(name string, endpoints ...string) hostileClaim {
		return hostileClaim{
			name: name, claim: map[string]string{mesh.AnnotationEndpoints: strings.Join(append(endpoints, honest), ",")},
			reason: mesh.BadEndpoint, values: endpoints,
		}
	}
	mapped := bad("loopback as IPv4 in IPv6", "[::ffff:127.0.0.1]:51820")
	mapped.values = []string{"127.0.0.1:51820"}
	return []hostileClaim{
		bad("an endpoint inside the pod CIDR", h.pod("n2").Address(true).String()+":51820", "10.244.255.1:51820",
			"["+h.pod("n2").Address(false).String()+"]:51820"),
		bad("an endpoint inside the service CIDR", "10.96.0.1:443", "[fd00:10:96::1]:443"),
		bad("a multicast or broadcast endpoint", "224.0.0.1:51820", "[ff02::1]:51820", "255.255.255.255:51820"),
		bad("a loopback endpoint", "127.0.0.1:51820", "[::1]:51820"),
		mapped,
		bad("an unspecified endpoint", "0.0.0.0:51820", "[::]:51820"),
		bad("a link-local endpoint", "169.254.169.254:80", "[fe80::1]:51820"),
		{
			name:  "an endpoint of a family that nobody has", // is not used, and no reason to refuse: other nodes may have it
			claim: map[string]string{mesh.AnnotationEndpoints: "[2001:db8::1]:51820," + honest},
		},
		malformed("an endpoint with a zone", mesh.AnnotationEndpoints, "[fe80::1%eth0]:51820", honest),
		malformed("an endpoint without a port", mesh.AnnotationEndpoints, "192.0.2.1", honest),
		malformed("an endpoint with port 0", mesh.AnnotationEndpoints, "192.0.2.1:0", honest),
		malformed("an endpoint with port 65536", mesh.AnnotationEndpoints, "192.0.2.1:65536", honest),
		malformed("an endpoint that is a name", mesh.AnnotationEndpoints, "kubernetes.default:443", honest),
	}
}

// sizes are claims that are too much, or no text.
func (h *hostile) sizes() []hostileClaim {
	const most = 250 << 10 // what a Node has room for beside the rest
	note := func(value string) string {
		return `{"metadata":{"annotations":{"warren.dev/version":"` + value + `"},"labels":{"warren.dev/changed":""}}}`
	}
	mangled := malformed("bytes that are not UTF-8", mesh.AnnotationVersion, "\uFFFD")
	mangled.raw = note("v1\xff\xfe") // the API server stores U+FFFD in their place
	return []hostileClaim{
		malformed("256 KiB of key", mesh.AnnotationPublicKey, strings.Repeat("A", most)),
		malformed("256 KiB of pod CIDRs", mesh.AnnotationPodCIDRs, strings.Repeat("10.244.1.0/24,", most/14)+"10.244.1.0/24"),
		malformed("256 KiB of endpoints", mesh.AnnotationEndpoints, strings.Repeat("192.0.2.1:51820,", most/16)+"192.0.2.1:51820"),
		malformed("256 KiB of mesh addresses", mesh.AnnotationMeshAddresses, strings.Repeat(",", most)),
		malformed("256 KiB of version", mesh.AnnotationVersion, strings.Repeat("v", most)),
		malformed("65 pod CIDRs", mesh.AnnotationPodCIDRs, strings.Repeat("10.244.1.0/24,", 64)+"10.244.1.0/24"),
		malformed("a terminal's orders", mesh.AnnotationVersion, "\x1b[2J"),
		{name: "256 KiB beside the claim", claim: map[string]string{claimMore: strings.Repeat("x", most)}},
		{
			name: "more than 256 KiB", claim: map[string]string{claimMore: strings.Repeat("x", 257<<10)},
			api: "may not be more than 262144 bytes",
		},
		mangled,
	}
}

// malformed is a claim for which n1 is left out: the annotation's values are told, as long as they are short.
func malformed(name, annotation string, values ...string) hostileClaim {
	return hostileClaim{
		name: name, claim: map[string]string{annotation: strings.Join(values, ",")},
		reason: mesh.Malformed, values: []string{annotation}, leftOut: true,
	}
}
