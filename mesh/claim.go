package mesh

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/warren-mesh/warren/crypto/identity"
)

// The annotations by which a node's agent publishes its claim on its own Node. Lists are separated by commas.
const (
	AnnotationPrefix        = "warren.dev/"
	AnnotationPublicKey     = AnnotationPrefix + "public-key"
	AnnotationEndpoints     = AnnotationPrefix + "endpoints"
	AnnotationPodCIDRs      = AnnotationPrefix + "pod-cidrs"
	AnnotationMeshAddresses = AnnotationPrefix + "mesh-addresses"
	AnnotationVersion       = AnnotationPrefix + "version"
	AnnotationClockSteps    = AnnotationPrefix + "clock-steps"
	// AnnotationMigrating is there for as long as what it says holds.
	AnnotationMigrating = AnnotationPrefix + "migrating"
	// AnnotationEndpointOverride is the operator's, in the form of AnnotationEndpoints: the agent publishes these
	// endpoints in place of the Node's addresses. It reads the annotation and never writes it.
	AnnotationEndpointOverride = AnnotationPrefix + "endpoint-override"
)

// LabelChanged is the label with which an agent publishes a changed claim, and which it takes away after a while: by it the others ask
// the API server for claims that changed, and are not told of every heartbeat.
const LabelChanged = AnnotationPrefix + "changed"

// The most that is read of a claim. What is longer is malformed: a hostile Node must not cost the others memory or time.
const (
	maxAnnotationBytes = 4096
	maxListItems       = 64
	maxVersionBytes    = 128
)

// Claim is what a node's agent says of its own node.
type Claim struct {
	// PublicKey is zero for a node that has not published yet.
	PublicKey identity.PublicKey
	// Endpoints are where the node may be reached, best first.
	Endpoints []netip.AddrPort
	// PodCIDRs are the node's pods'.
	PodCIDRs []netip.Prefix
	// MeshAddresses are the node's own in the mesh, at most one of each family.
	MeshAddresses []netip.Addr
	// Version is the agent's, for people: printable ASCII, so that it can do a terminal no harm.
	Version string
	// ClockSteps is how often the node's clock went back. Who has a peer of the node makes it anew when this changes: WireGuard
	// refuses handshakes that are older than the last.
	ClockSteps uint32
	// Migrating says that the node still sends to some others in clear, by the network that it is migrated from.
	Migrating bool
}

// Published says whether the node's agent has said anything yet.
func (c Claim) Published() bool { return !c.PublicKey.IsZero() }

// Equal says whether two claims are the same.
func (c Claim) Equal(o Claim) bool {
	return c.PublicKey == o.PublicKey && c.Version == o.Version && c.ClockSteps == o.ClockSteps && c.Migrating == o.Migrating && slices.Equal(c.Endpoints, o.Endpoints) &&
		slices.Equal(c.PodCIDRs, o.PodCIDRs) && slices.Equal(c.MeshAddresses, o.MeshAddresses)
}

// Annotations is the claim as it is published; ParseClaim is its inverse.
func (c Claim) Annotations() map[string]string {
	annotations := map[string]string{
		AnnotationPublicKey:     c.PublicKey.String(),
		AnnotationEndpoints:     join(c.Endpoints),
		AnnotationPodCIDRs:      join(c.PodCIDRs),
		AnnotationMeshAddresses: join(c.MeshAddresses),
		AnnotationVersion:       c.Version,
		AnnotationClockSteps:    strconv.FormatUint(uint64(c.ClockSteps), 10),
	}
	if c.Migrating {
		annotations[AnnotationMigrating] = "true"
	}
	return annotations
}

// ParseClaim reads the annotations of a Node. Without a public key the claim is empty: the node has not published.
// The error names the annotation, its value and what would be right; the key is returned with it where that could be read.
func ParseClaim(annotations map[string]string) (Claim, error) {
	var c Claim
	text, ok := annotations[AnnotationPublicKey]
	if !ok {
		return c, nil
	}
	key, err := identity.ParsePublicKey(text)
	if err != nil {
		return Claim{}, fmt.Errorf("annotation %s: %w", AnnotationPublicKey, err)
	}
	c.PublicKey = key
	endpoints, err := ParseEndpoints(AnnotationEndpoints, annotations[AnnotationEndpoints])
	if err != nil {
		return c, err
	}
	cidrs, err := split(AnnotationPodCIDRs, annotations[AnnotationPodCIDRs])
	if err != nil {
		return c, err
	}
	prefixes, err := parsePrefixes("annotation "+AnnotationPodCIDRs, cidrs)
	if err != nil {
		return c, err
	}
	addrs, err := parseMeshAddresses(annotations[AnnotationMeshAddresses])
	if err != nil {
		return c, err
	}
	version := annotations[AnnotationVersion]
	if len(version) > maxVersionBytes || strings.ContainsFunc(version, func(r rune) bool { return r < ' ' || r > '~' }) {
		return c, fmt.Errorf("annotation %s: %.64q is not at most %d printable ASCII characters", AnnotationVersion, version, maxVersionBytes)
	}
	steps, err := parseClockSteps(annotations[AnnotationClockSteps])
	if err != nil {
		return c, err
	}
	migrating, ok := annotations[AnnotationMigrating]
	if ok && migrating != "true" {
		return c, fmt.Errorf("annotation %s: %.64q is not true: where it is not, the annotation is not there", AnnotationMigrating, migrating)
	}
	return Claim{
		PublicKey: key, Endpoints: endpoints, PodCIDRs: prefixes, MeshAddresses: addrs, Version: version, ClockSteps: steps, Migrating: ok,
	}, nil
}

// parseClockSteps reads a number; none at all is 0.
func parseClockSteps(text string) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	steps, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("annotation %s: %.64q is not a number from 0 to %d", AnnotationClockSteps, text, uint32(math.MaxUint32))
	}
	return uint32(steps), nil
}

// ParseEndpoints reads a comma-separated list of address:port; annotation is named in the error.
func ParseEndpoints(annotation, text string) ([]netip.AddrPort, error) {
	items, err := split(annotation, text)
	if err != nil {
		return nil, err
	}
	var endpoints []netip.AddrPort
	for _, item := range items {
		ep, err := netip.ParseAddrPort(item)
		if err != nil || ep.Port() == 0 || ep.Addr().Zone() != "" {
			return nil, fmt.Errorf("annotation %s: %.64q is not address:port, like 192.0.2.1:51820 or [2001:db8::1]:51820",
				annotation, item)
		}
		endpoints = append(endpoints, netip.AddrPortFrom(ep.Addr().Unmap(), ep.Port()))
	}
	return endpoints, nil
}

func parseMeshAddresses(text string) ([]netip.Addr, error) {
	items, err := split(AnnotationMeshAddresses, text)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, item := range items {
		addr, err := netip.ParseAddr(item)
		if err != nil || addr.Zone() != "" || addr.Is4In6() {
			return nil, fmt.Errorf("annotation %s: %.64q is not an IPv4 or IPv6 address", AnnotationMeshAddresses, item)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// parsePrefixes reads CIDRs. Host bits are refused rather than masked: who writes 10.244.1.7/24 means something else
// than what we would make of it. where is named in the error.
func parsePrefixes(where string, items []string) ([]netip.Prefix, error) {
	if len(items) > maxListItems {
		return nil, fmt.Errorf("%s: %d entries, at most %d", where, len(items), maxListItems)
	}
	var prefixes []netip.Prefix
	for _, item := range items {
		p, err := netip.ParsePrefix(item)
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%s: %.64q is not a CIDR, like 10.244.1.0/24 or fd00:10:244:1::/64", where, item)
		}
		prefixes = append(prefixes, p)
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes), nil
}

func split(annotation, text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxAnnotationBytes {
		return nil, fmt.Errorf("annotation %s: %d bytes, at most %d", annotation, len(text), maxAnnotationBytes)
	}
	items := strings.Split(text, ",")
	if len(items) > maxListItems {
		return nil, fmt.Errorf("annotation %s: %d entries, at most %d", annotation, len(items), maxListItems)
	}
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items, nil
}

func join[T fmt.Stringer](items []T) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = item.String()
	}
	return strings.Join(texts, ",")
}
