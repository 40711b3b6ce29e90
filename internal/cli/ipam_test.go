package cli

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/survey"
	"github.com/warren-mesh/warren/ipam"
)

func (a agent) IPAM() (socket.IPAM, error)           { return a.ipam, a.err }
func (a agent) CheckIPAM() ([]survey.Finding, error) { return a.findings, a.err }
func (a agent) Release(r socket.Release) (socket.Released, error) {
	if a.err != nil && !r.Force {
		return socket.Released{}, a.err
	}
	return socket.Released{From: "pod default/web (eth0 of container abc)"}, nil
}

func TestIPAMShow(t *testing.T) {
	path := serve(t, agent{ipam: socket.IPAM{Node: "n1", Uses: []ipam.Use{
		{Prefix: netip.MustParsePrefix("10.244.1.0/24"), Size: 253, Leased: 12, Cooling: 3},
		{Prefix: netip.MustParsePrefix("fd00:244::/64"), Size: 16384, Leased: 12},
	}}})
	got, err := warren(t, "ipam", "show", "--socket", path)
	want := `node: n1
  10.244.1.0/24: 12 of 253 leased, 3 released less than 30s ago
  fd00:244::/64: 12 of 16384 leased
`
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	got, err = warren(t, "ipam", "show", "-o", "json", "--socket", path)
	want = `{
  "node": "n1",
  "uses": [
    {
      "prefix": "10.244.1.0/24",
      "size": 253,
      "leased": 12,
      "cooling": 3
    },
    {
      "prefix": "fd00:244::/64",
      "size": 16384,
      "leased": 12,
      "cooling": 0
    }
  ]
}
`
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestIPAMCheck(t *testing.T) {
	found := []survey.Finding{{About: "10.244.1.3", Problem: "leased to nobody", Do: "release it"}}
	got, err := warren(t, "ipam", "check", "--socket", serve(t, agent{findings: found}))
	if want := "10.244.1.3: leased to nobody: release it\n"; got != want || err == nil || err.Error() != "1 findings" {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	got, err = warren(t, "ipam", "check", "--socket", serve(t, agent{}))
	if want := "nothing is wrong\n"; got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestIPAMRelease(t *testing.T) {
	path := serve(t, agent{err: errors.New("releasing 10.244.1.3: its pod lives")})
	if got, err := warren(t, "ipam", "release", "10.244.1.3", "--socket", path); got != "" || err == nil ||
		err.Error() != "the agent could not release: releasing 10.244.1.3: its pod lives" {
		t.Errorf("%q, %v", got, err)
	}
	got, err := warren(t, "ipam", "release", "10.244.1.3", "--force", "--socket", path)
	if want := "released 10.244.1.3, which was of pod default/web (eth0 of container abc)\n"; got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestIPAMErrors(t *testing.T) {
	nobody := filepath.Join(t.TempDir(), "agent.sock")
	empty := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"is warrend running on this node":          {"show"},
		"is warrend running on this node, and":     {"check"},
		`--output "yaml": want text or json`:       {"check", "-o", "yaml"},
		"reading the kubeconfig " + empty:          {"check", "--kubeconfig", empty},
		`address "10.244.1": want one like 10.`:    {"release", "10.244.1"},
		`address "fe80::1%eth0": want one like `:   {"release", "fe80::1%eth0"},
		"accepts 1 arg(s), received 0":             {"release"},
		"is warrend running on this node, and are": {"release", "10.244.1.3"},
	} {
		if out, err := warren(t, append([]string{"ipam", "--socket", nobody}, args...)...); err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%v: %q, error %v, want %q", args, out, err, want)
		}
	}
}
