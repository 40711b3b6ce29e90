package mesh_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/warren-mesh/warren/mesh"
)

// FuzzParseEndpoints: nothing in the operator's override makes ParseEndpoints panic, and what it accepts can be published and read.
func FuzzParseEndpoints(f *testing.F) {
	f.Add("192.0.2.1:51820,[2001:db8::1]:51820")
	f.Add("")
	f.Add("[::ffff:192.0.2.1]:051820, 192.0.2.1:1")
	f.Add("[fe80::1%eth0]:1")
	f.Add(strings.Repeat("192.0.2.1:1,", 64))
	f.Fuzz(func(t *testing.T, text string) {
		endpoints, err := mesh.ParseEndpoints(mesh.AnnotationEndpointOverride, text)
		if err != nil {
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 2000 {
				t.Fatalf("the error is no text for an Event: %q", err)
			}
			return
		}
		claim := mesh.Claim{PublicKey: keyOf("n1"), Endpoints: endpoints}
		again, err := mesh.ParseClaim(claim.Annotations())
		if err != nil || !again.Equal(claim) {
			t.Fatalf("%q was accepted as %v and reads back as %v, %v", text, endpoints, again.Endpoints, err)
		}
	})
}
