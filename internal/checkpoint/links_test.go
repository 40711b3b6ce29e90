package checkpoint

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/warren-mesh/warren/policy"
)

func TestLinks(t *testing.T) {
	s := NewLinks(t.TempDir(), "n1")
	if _, err := s.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	link := func(name string, index int, addrs ...string) PodLink {
		l := PodLink{Index: index, Local: policy.Local{Interface: name, PodKey: policy.PodKey{Namespace: "x", Name: "a"}}}
		for _, a := range addrs {
			l.Addresses = append(l.Addresses, netip.MustParseAddr(a))
		}
		return l
	}
	if err := s.Save([]PodLink{link("vethb", 9, "10.0.0.6"), link("vetha", 7, "10.0.0.5", "fd00::5")}); err != nil {
		t.Fatal(err)
	}
	want := []PodLink{link("vetha", 7, "10.0.0.5", "fd00::5"), link("vethb", 9, "10.0.0.6")}
	got, err := NewLinks(s.dir, "n1").Load()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := NewLinks(s.dir, "n2").Load(); err == nil || !strings.Contains(err.Error(), `of node "n1", and this is n2`) {
		t.Errorf("another node's: %v", err)
	}
	for name, bad := range map[string]struct {
		links []PodLink
		says  string
	}{
		"no name":    {[]PodLink{link("", 7, "10.0.0.5")}, "has no name"},
		"no index":   {[]PodLink{link("vetha", 0, "10.0.0.5")}, "has no name, index"},
		"no address": {[]PodLink{link("vetha", 7)}, "or address"},
		"twice":      {[]PodLink{link("vetha", 7, "10.0.0.5"), link("vetha", 8, "10.0.0.6")}, `link "vetha" is there twice`},
	} {
		if err := s.Save(bad.links); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(s.Path(), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(); err == nil {
		t.Error("a torn file is taken")
	}
}
