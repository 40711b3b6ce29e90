package mesh_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

func TestClaimRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawClaim(t)
		got, err := mesh.ParseClaim(want.Annotations())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, asValues); diff != "" {
			t.Fatalf("ParseClaim(Annotations()) differs (-want +got):\n%s", diff)
		}
		if !got.Equal(want) {
			t.Fatal("cmp sees no difference, and Equal does")
		}
	})
}

func drawClaim(t *rapid.T) mesh.Claim {
	claim := mesh.Claim{
		PublicKey: identity.PublicKey(rapid.SliceOfN(rapid.Byte(), identity.KeySize, identity.KeySize).Draw(t, "key")),
		Version:   rapid.StringMatching(`[ -~]{0,128}`).Draw(t, "version"),
	}
	claim.PublicKey[0] |= 1 // never the zero key, which no node has
	for range rapid.IntRange(0, 64).Draw(t, "endpoints") {
		claim.Endpoints = append(claim.Endpoints, netip.AddrPortFrom(drawAddr(t), rapid.Uint16Min(1).Draw(t, "port")))
	}
	for range rapid.IntRange(0, 64).Draw(t, "CIDRs") {
		addr := drawAddr(t)
		p, err := addr.Prefix(rapid.IntRange(0, addr.BitLen()).Draw(t, "bits"))
		if err != nil {
			t.Fatal(err)
		}
		claim.PodCIDRs = append(claim.PodCIDRs, p)
	}
	slices.SortFunc(claim.PodCIDRs, netip.Prefix.Compare)
	claim.PodCIDRs = slices.Compact(claim.PodCIDRs)
	for range rapid.IntRange(0, 2).Draw(t, "mesh addresses") {
		claim.MeshAddresses = append(claim.MeshAddresses, drawAddr(t))
	}
	return claim
}

func drawAddr(t *rapid.T) netip.Addr {
	size := rapid.SampledFrom([]int{4, 16}).Draw(t, "address size")
	addr, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "address"))
	return addr.Unmap()
}

func TestParseClaimKeepsTheKey(t *testing.T) {
	claim, err := mesh.ParseClaim(map[string]string{
		mesh.AnnotationPublicKey: keyOf("n1").String(),
		mesh.AnnotationEndpoints: "nowhere",
		mesh.AnnotationVersion:   "v0.1.0",
	})
	if err == nil {
		t.Fatal("a claim with a bad endpoint was read without an error")
	}
	if diff := cmp.Diff(mesh.Claim{PublicKey: keyOf("n1")}, claim, asValues); diff != "" {
		t.Errorf("of a malformed claim the key alone is kept (-want +got):\n%s", diff)
	}
}

func TestParseClaimLimits(t *testing.T) {
	for _, test := range []struct {
		name, annotation, value string
		sound                   bool
	}{
		{"64 endpoints", mesh.AnnotationEndpoints, strings.Repeat("192.0.2.2:51820,", 63) + "192.0.2.2:51820", true},
		{"65 endpoints", mesh.AnnotationEndpoints, strings.Repeat("192.0.2.2:51820,", 64) + "192.0.2.2:51820", false},
		{"64 CIDRs", mesh.AnnotationPodCIDRs, strings.Repeat("10.0.0.0/8,", 63) + "10.0.0.0/8", true},
		{"65 CIDRs", mesh.AnnotationPodCIDRs, strings.Repeat("10.0.0.0/8,", 64) + "10.0.0.0/8", false},
		{"4096 bytes", mesh.AnnotationPodCIDRs, strings.Repeat(" ", 4086) + "10.0.0.0/8", true},
		{"4097 bytes", mesh.AnnotationPodCIDRs, strings.Repeat(" ", 4087) + "10.0.0.0/8", false},
		{"a version of 128 bytes", mesh.AnnotationVersion, strings.Repeat("~", 128), true},
		{"a version of 129 bytes", mesh.AnnotationVersion, strings.Repeat("~", 129), false},
		{"most clock steps", mesh.AnnotationClockSteps, "4294967295", true},
		{"one more", mesh.AnnotationClockSteps, "4294967296", false},
		{"clock steps that are no number", mesh.AnnotationClockSteps, "0x10", false},
		{"a version of two lines", mesh.AnnotationVersion, "v0.1.0\nv0.2.0", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := mesh.ParseClaim(map[string]string{
				mesh.AnnotationPublicKey: keyOf("n1").String(), test.annotation: test.value,
			})
			if (err == nil) != test.sound {
				t.Fatalf("sound should be %t, error: %v", test.sound, err)
			}
			if err != nil && (!strings.Contains(err.Error(), test.annotation) || len(err.Error()) > 300) {
				t.Errorf("the error does not name %s, or is too long: %v", test.annotation, err)
			}
		})
	}
}
