package mesh_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/warren-mesh/warren/mesh"
)

// FuzzParseClaim: nothing makes ParseClaim panic, and what it accepts it reads back from what it would write.
func FuzzParseClaim(f *testing.F) {
	f.Add(keyOf("n1").String(), "192.0.2.1:51820,[2001:db8::1]:51820", "10.244.1.0/24,fd00::/64", "10.244.1.1,fd00::1", "v0.1.0", "3")
	f.Add("", "", "", "", "", "")
	f.Add(keyOf("n1").String(), "[::ffff:192.0.2.1]:051820", "0.0.0.0/0,::/0", "::ffff:10.244.1.1", "\x1b[2J", "3")
	f.Add(keyOf("n1").String()+"\n", "[fe80::1%eth0]:1", "::ffff:0:0/96", "fe80::1%eth0", "\xff", "3")
	f.Add(strings.Repeat("A", 43)+"=", ",", " ", "255.255.255.255", strings.Repeat("v", 129), "3")
	f.Fuzz(func(t *testing.T, key, endpoints, podCIDRs, meshAddresses, version, steps string) {
		annotations := annotationsOf(key, endpoints, podCIDRs, meshAddresses, version)
		annotations[mesh.AnnotationClockSteps] = steps
		claim, err := mesh.ParseClaim(annotations)
		if err != nil {
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 2000 {
				t.Fatalf("the error is no text for an Event: %q", err)
			}
			return
		}
		again, err := mesh.ParseClaim(claim.Annotations())
		if err != nil || !again.Equal(claim) {
			t.Fatalf("%+v was accepted and reads back as %+v, %v", claim, again, err)
		}
	})
}

// FuzzParseNode: nothing makes ParseNode or Compute panic, a node that is accepted reads back, and its neighbour stays a peer.
func FuzzParseNode(f *testing.F) {
	f.Add(keyOf("n1").String(), "192.0.2.1:51820", "10.244.1.0/24", "10.244.1.1", "v0.1.0", "10.244.1.0/24")
	f.Add(keyOf("n1").String(), "127.0.0.1:1", "::/0", "::", "", "::/0,0.0.0.0/0,10.244.0.0/16")
	f.Add("AAAA", "nowhere", "10.244.1.1/24", "-", "\x00", "255.255.255.255/32")
	neighbour := withNodeKey(mesh.ParseNode(mesh.Fields{
		Name: "neighbour", UID: "neighbour", Created: epoch, PodCIDRs: []string{"10.244.9.0/24"},
		Annotations: annotationsOf(keyOf("neighbour").String(), "192.0.2.9:51820", "10.244.9.0/24", "10.244.9.1", "v0.1.0"),
	}), "neighbour")
	want := mesh.Compute(drawnLocal, []mesh.Node{neighbour}).Plan.Lanes[0].Peers[0]
	f.Fuzz(func(t *testing.T, key, endpoints, podCIDRs, meshAddresses, version, grants string) {
		fields := mesh.Fields{
			Name: "fuzzed", UID: "fuzzed", Created: epoch.AddDate(1, 0, 0), PodCIDRs: strings.Split(grants, ","),
			Annotations: annotationsOf(key, endpoints, podCIDRs, meshAddresses, version),
		}
		node := withNodeKey(mesh.ParseNode(fields), "n1")
		result := mesh.Compute(drawnLocal, []mesh.Node{node, neighbour})
		var got mesh.Peer
		for _, p := range result.Plan.Lanes[0].Peers {
			if p.Node == neighbour.Name {
				got = *p
			}
		}
		if !got.Equal(want) {
			t.Fatalf("the neighbour became %+v, want %+v", got, want)
		}
		for _, r := range result.Refusals {
			if r.Node != node.Name || !utf8.ValidString(r.Detail) {
				t.Fatalf("odd refusal: %+v", r)
			}
		}
		if node.Malformed != "" {
			return
		}
		fields.Annotations, fields.PodCIDRs = node.Claim.Annotations(), nil
		if !node.Claim.Published() {
			fields.Annotations = nil
		}
		for _, g := range node.Grants {
			fields.PodCIDRs = append(fields.PodCIDRs, g.String())
		}
		if again := withNodeKey(mesh.ParseNode(fields), "n1"); !again.Equal(node) {
			t.Fatalf("%+v was accepted and reads back as %+v", node, again)
		}
	})
}

func annotationsOf(key, endpoints, podCIDRs, meshAddresses, version string) map[string]string {
	return map[string]string{
		mesh.AnnotationPublicKey: key, mesh.AnnotationEndpoints: endpoints, mesh.AnnotationPodCIDRs: podCIDRs,
		mesh.AnnotationMeshAddresses: meshAddresses, mesh.AnnotationVersion: version,
	}
}
