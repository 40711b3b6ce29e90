package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPin(t *testing.T) {
	const manifest = `containers:
- image: ghcr.io/warren-mesh/warren
  args: [install]
- name: agent
  image: "ghcr.io/warren-mesh/warren:v1"
- name: other
  image: example.com/other
`
	const want = `containers:
- image: ghcr.io/warren-mesh/warren:harness
  args: [install]
- name: agent
  image: "ghcr.io/warren-mesh/warren:v1"
- name: other
  image: example.com/other
`
	got, names := pin([]byte(manifest))
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ghcr.io/warren-mesh/warren:harness", "ghcr.io/warren-mesh/warren:v1"}, names); diff != "" {
		t.Error(diff)
	}
}
