package socket

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/ipam"
)

func TestIPAM(t *testing.T) {
	path, stop := serve(t, backend{status: Status{Node: "n1"}})
	defer func() { _ = stop() }()
	client := NewClient(path)
	shown, err := client.IPAM(t.Context())
	if diff := cmp.Diff(IPAM{Node: "n1", Uses: []ipam.Use{{Size: 253, Leased: 1}}}, shown, equal); err != nil || diff != "" {
		t.Errorf("addresses: %v\n%s", err, diff)
	}
	found, err := client.CheckIPAM(t.Context())
	if diff := cmp.Diff([]survey.Finding{{About: "10.244.1.2", Problem: "leaked", Do: "release it"}}, found); err != nil || diff != "" {
		t.Errorf("findings: %v\n%s", err, diff)
	}
	released, err := client.Release(t.Context(), Release{Address: netip.MustParseAddr("fd00::2"), Force: true})
	if err != nil || released.From != "fd00::2 by force true" {
		t.Errorf("released %v, %v", released, err)
	}
	for body, status := range map[string]int{
		"": 400, "{}": 400, `{"address":"x"}`: 400, `{"address":"` + strings.Repeat("1", 2*maxRelease) + `"}`: 400, `{"address":"10.0.0.1"}`: 200,
	} {
		response, err := client.http.Post("http://agent/v1/release", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%.40q: status %d, want %d", body, response.StatusCode, status)
		}
	}
}

func TestIPAMOfAnAgentInTrouble(t *testing.T) {
	path, stop := serve(t, backend{err: errors.New("its pod lives")})
	defer func() { _ = stop() }()
	_, err := NewClient(path).Release(t.Context(), Release{Address: netip.MustParseAddr("10.244.1.2")})
	if err == nil || err.Error() != "the agent could not release: its pod lives" {
		t.Errorf("error %v", err)
	}
}
