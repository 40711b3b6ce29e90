package mesh_test

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/mesh"
)

// drawnLocal is the node whose plan the property tests compute. Its cluster is small, so that drawn nodes quarrel often.
var drawnLocal = mesh.Local{
	Name: "n0", PublicKey: keyOf("n0"), Interface: "warren0", ListenPort: 51820, UnderlayMTU: 1500,
	ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")},
	ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.4.0/24"), netip.MustParsePrefix("10.96.0.0/12")},
	Addresses:    []netip.Addr{netip.MustParseAddr("192.0.2.1")},
}

// breakages are annotations that make a published node malformed.
var breakages = []struct{ annotation, value string }{
	{mesh.AnnotationPublicKey, "AAAA"},
	{mesh.AnnotationEndpoints, "nowhere"},
	{mesh.AnnotationPodCIDRs, "10.244.1.1/24"},
	{mesh.AnnotationMeshAddresses, "\xff"},
	{mesh.AnnotationVersion, strings.Repeat("v", 1000)},
}

var (
	drawnPrefix = rapid.Custom(func(t *rapid.T) string {
		third := rapid.IntRange(0, 5).Draw(t, "third")
		if rapid.Bool().Draw(t, "IPv6") {
			bits := rapid.SampledFrom([]int{0, 47, 48, 62, 63, 64, 65, 128}).Draw(t, "bits")
			return netip.MustParsePrefix(fmt.Sprintf("fd00:10:244:%x::/%d", third, bits)).Masked().String()
		}
		bits := rapid.SampledFrom([]int{0, 15, 16, 22, 23, 24, 25, 32}).Draw(t, "bits")
		return netip.MustParsePrefix(fmt.Sprintf("10.244.%d.128/%d", third, bits)).Masked().String()
	})
	drawnPrefixes = rapid.SliceOfN(drawnPrefix, 0, 4)
	drawnEndpoint = rapid.SampledFrom([]string{
		"192.0.2.2:51820", "[2001:db8::2]:51820", "10.244.1.1:51820", "127.0.0.1:1", "[::ffff:192.0.2.3]:51820", "[fe80::1]:51820",
	})
)

// drawCluster draws nodes that overlap, copy keys, claim what is not theirs, and are as old as each other.
func drawCluster(t *rapid.T) []mesh.Fields {
	fields := make([]mesh.Fields, rapid.IntRange(1, 8).Draw(t, "nodes"))
	uids := rapid.Permutation([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "uids")
	for i := range fields {
		fields[i] = drawNode(t, fmt.Sprintf("n%d", i), uids[i])
	}
	return fields
}

func drawNode(t *rapid.T, name, uid string) mesh.Fields {
	grants := drawnPrefixes.Draw(t, name+" grants")
	claims := drawnPrefixes.Draw(t, name+" claims")
	if rapid.IntRange(0, 3).Draw(t, name+" honest") > 0 {
		claims = grants
	}
	key := rapid.SampledFrom([]string{name, name, name, "n0", "n1", "n2"}).Draw(t, name+" key")
	annotations := map[string]string{
		mesh.AnnotationPublicKey:     keyOf(key).String(),
		mesh.AnnotationEndpoints:     strings.Join(rapid.SliceOfN(drawnEndpoint, 0, 3).Draw(t, name+" endpoints"), ","),
		mesh.AnnotationPodCIDRs:      strings.Join(claims, ","),
		mesh.AnnotationMeshAddresses: rapid.SampledFrom([]string{"", "10.244.1.1", "fd00:10:244:2::1"}).Draw(t, name+" mesh"),
		mesh.AnnotationVersion:       "v0.1.0",
	}
	if rapid.Bool().Draw(t, name+" migrating") {
		annotations[mesh.AnnotationMigrating] = "true"
	}
	switch rapid.IntRange(0, 9).Draw(t, name+" state") {
	case 0:
		delete(annotations, mesh.AnnotationPublicKey)
	case 1:
		broken := rapid.SampledFrom(breakages).Draw(t, name+" broken")
		annotations[broken.annotation] = broken.value
	}
	return mesh.Fields{
		Name: name, UID: uid, PodCIDRs: grants, Annotations: annotations,
		Created: epoch.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, name+" age")) * time.Hour),
	}
}

func parseAll(fields []mesh.Fields) []mesh.Node {
	nodes := make([]mesh.Node, len(fields))
	for i, f := range fields {
		nodes[i] = withNodeKey(mesh.ParseNode(f), "n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7")
	}
	return nodes
}
