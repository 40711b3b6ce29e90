package wg

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// testPeer is node n with an endpoint and a prefix of both families.
func testPeer(n int) *mesh.Peer {
	key := identity.PublicKey{31: 9}
	key[0], key[1] = byte(n), byte(n>>8)
	return &mesh.Peer{
		Node: fmt.Sprintf("n%d", n), PublicKey: key,
		Endpoint:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, byte(5 + n>>8), byte(n)}), 51820),
		AllowedIPs: prefixList(fmt.Sprintf("10.%d.%d.0/24", (244+n>>8)&255, n&255), fmt.Sprintf("fd00:244:%x::/64", n)),
	}
}

func prefixList(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// order sorts the blocks and the allowed IPs of what wg prints: their order says nothing.
func order(text string) string {
	blocks := strings.Split(strings.TrimSpace(text), "\npeer: ")
	if len(blocks) == 1 {
		blocks = strings.Split(strings.TrimSpace(text), "\n\n[Peer]\n")
	}
	for i, block := range blocks {
		lines := strings.Split(block, "\n")
		for j, line := range lines {
			for _, label := range []string{"allowed ips: ", "AllowedIPs = "} {
				if list, ok := strings.CutPrefix(line, label); ok {
					prefixes := strings.Split(list, ", ")
					slices.Sort(prefixes)
					lines[j] = label + strings.Join(prefixes, ", ")
				}
			}
		}
		blocks[i] = strings.Join(lines, "\n")
	}
	slices.Sort(blocks[1:])
	return strings.Join(blocks, "\npeer: ")
}

// keyFile is a private key in a file.
func keyFile(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other")
	if _, _, err := identity.LoadOrCreate(dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, identity.FileName)
}

func TestDiff(t *testing.T) {
	n1, n2 := testPeer(1), testPeer(2)
	with := func(peer *mesh.Peer, edit func(*mesh.Peer)) *mesh.Peer {
		edited := *peer
		edited.AllowedIPs = slices.Clone(peer.AllowedIPs)
		edit(&edited)
		return &edited
	}
	other := netip.MustParseAddrPort("192.168.9.9:51820")
	roamed := netip.MustParseAddrPort("203.0.113.5:1234")
	claims := map[identity.PublicKey]netip.AddrPort{n1.PublicKey: n1.Endpoint, n2.PublicKey: n2.Endpoint}
	for name, test := range map[string]struct {
		have    func(*state)
		claims  map[identity.PublicKey]netip.AddrPort
		want    []*mesh.Peer
		noPrune bool
		text    string
	}{
		"nothing":                                {claims: claims, want: []*mesh.Peer{n1, n2}},
		"endpoint roamed":                        {have: endpointIs(n1, roamed), claims: claims, want: []*mesh.Peer{n1, n2}},
		"endpoint lost":                          {have: endpointIs(n1, netip.AddrPort{}), claims: claims, want: []*mesh.Peer{n1, n2}, text: "peer N1 endpoint 192.168.5.1:51820"},
		"claim changed":                          {claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.Endpoint = other }), n2}, text: "peer N1 endpoint 192.168.9.9:51820"},
		"claim changed to what it roamed to":     {have: endpointIs(n1, other), claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.Endpoint = other }), n2}},
		"claim gone":                             {claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.Endpoint = netip.AddrPort{} }), n2}},
		"adopted, live":                          {have: func(s *state) { endpointIs(n1, roamed)(s); s.peers[n1.PublicKey].live = true }, want: []*mesh.Peer{n1, n2}},
		"adopted, dead":                          {have: endpointIs(n1, roamed), want: []*mesh.Peer{n1, n2}, text: "peer N1 endpoint 192.168.5.1:51820"},
		"adopted, dead, no claim":                {have: endpointIs(n1, roamed), want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.Endpoint = netip.AddrPort{} }), n2}},
		"keepalive on":                           {claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.Keepalive = 25500 * time.Millisecond }), n2}, text: "peer N1 persistent-keepalive 25s"},
		"keepalive off":                          {have: func(s *state) { s.peers[n1.PublicKey].keepalive = time.Second }, claims: claims, want: []*mesh.Peer{n1, n2}, text: "peer N1 persistent-keepalive 0s"},
		"preshared key":                          {have: func(s *state) { s.peers[n1.PublicKey].preshared = true }, claims: claims, want: []*mesh.Peer{n1, n2}, text: "peer N1 preshared-key /dev/null"},
		"prefix more: the others stay":           {claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.AllowedIPs = append(p.AllowedIPs, prefixList("10.8.0.0/24")...) }), n2}, text: "peer N1 allowed-ips +10.8.0.0/24"},
		"prefix less":                            {claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.AllowedIPs = p.AllowedIPs[:1] }), n2}, text: "peer N1 allowed-ips 10.244.1.0/24"},
		"prefix less, no prune":                  {claims: claims, noPrune: true, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.AllowedIPs = p.AllowedIPs[:1] }), n2}},
		"all prefixes gone":                      {claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.AllowedIPs = nil }), n2}, text: "peer N1 allowed-ips "},
		"prefix moves: the loser is not touched": {claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.AllowedIPs = p.AllowedIPs[:1] }), with(n2, func(p *mesh.Peer) { p.AllowedIPs = append(p.AllowedIPs, n1.AllowedIPs[1]) })}, text: "peer N2 allowed-ips +fd00:244:1::/64"},
		"prefixes change places":                 {claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.AllowedIPs = n2.AllowedIPs }), with(n2, func(p *mesh.Peer) { p.AllowedIPs = n1.AllowedIPs })}, text: "peer N1 allowed-ips +10.244.2.0/24,+fd00:244:2::/64\npeer N2 allowed-ips +10.244.1.0/24,+fd00:244:1::/64"},
		"peer gone":                              {claims: claims, want: []*mesh.Peer{n2}, text: "peer N1 remove"},
		"peer gone, no prune":                    {claims: claims, want: []*mesh.Peer{n2}, noPrune: true},
		"peer's key changes: first new, then old": {
			claims: claims, want: []*mesh.Peer{with(n1, func(p *mesh.Peer) { p.PublicKey = testPeer(3).PublicKey }), n2},
			text: "peer N3 endpoint 192.168.5.1:51820 allowed-ips 10.244.1.0/24,fd00:244:1::/64\npeer N1 remove",
		},
		"everything at once": {
			have: endpointIs(n1, roamed), claims: claims,
			want: []*mesh.Peer{with(n1, func(p *mesh.Peer) {
				p.Endpoint, p.Keepalive, p.AllowedIPs = other, time.Second, prefixList("10.8.0.0/24")
			})},
			text: "peer N1 endpoint 192.168.9.9:51820 persistent-keepalive 1s allowed-ips 10.8.0.0/24\npeer N2 remove",
		},
	} {
		t.Run(name, func(t *testing.T) {
			have := newState(0)
			for _, peer := range []*mesh.Peer{n1, n2} {
				have.apply(create(peer))
			}
			if test.have != nil {
				test.have(have)
			}
			var lines []string
			for _, change := range have.diff(test.claims, test.want, slices.Collect(maps.Keys(have.peers)), !test.noPrune) {
				lines = append(lines, change.String())
			}
			got := strings.Join(lines, "\n")
			for i := 1; i <= 3; i++ {
				got = strings.ReplaceAll(got, testPeer(i).PublicKey.String(), fmt.Sprintf("N%d", i))
			}
			if diff := cmp.Diff(test.text, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func endpointIs(peer *mesh.Peer, endpoint netip.AddrPort) func(*state) {
	return func(s *state) { s.peers[peer.PublicKey].endpoint = endpoint }
}

// TestDiffArrives applies the changes between any two lists of peers, and then nothing is left to change.
func TestDiffArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) []*mesh.Peer {
			var peers []*mesh.Peer
			owner := rapid.SliceOfN(rapid.IntRange(-1, 4), 8, 8).Draw(t, label+" owner of each prefix")
			present := rapid.SliceOfN(rapid.Bool(), 5, 5).Draw(t, label+" present")
			for i := range 5 {
				if !present[i] {
					continue
				}
				peer := testPeer(i + 1)
				peer.AllowedIPs = nil
				for prefix, by := range owner {
					if by == i {
						peer.AllowedIPs = append(peer.AllowedIPs, testPeer(prefix + 1).AllowedIPs[0])
					}
				}
				peers = append(peers, peer)
			}
			return peers
		}
		have, claims := newState(0), map[identity.PublicKey]netip.AddrPort{}
		var settled []*mesh.Peer
		for _, label := range []string{"first", "second", "third"} {
			want := draw(label)
			changes := have.diff(claims, want, slices.Collect(maps.Keys(have.peers)), true)
			before, rest := mesh.Trim(settled, want, (*mesh.Peer).Equal)
			var had []identity.PublicKey
			for _, peer := range before {
				had = append(had, peer.PublicKey)
			}
			if diff := cmp.Diff(fmt.Sprint(changes), fmt.Sprint(have.diff(claims, rest, had, true))); diff != "" {
				t.Fatalf("what has changed alone gives something else (-whole +trimmed):\n%s", diff)
			}
			for _, change := range changes {
				have.apply(change)
			}
			settled = want
			for _, peer := range want {
				claims[peer.PublicKey] = peer.Endpoint
			}
			if left := have.diff(claims, want, slices.Collect(maps.Keys(have.peers)), true); len(left) != 0 {
				t.Fatalf("left to do: %v", left)
			}
			if len(have.peers) != len(want) {
				t.Fatalf("%d peers, want %d", len(have.peers), len(want))
			}
			for _, peer := range want {
				got := slices.SortedFunc(slices.Values(have.peers[peer.PublicKey].allowedIPs), netip.Prefix.Compare)
				if !slices.Equal(got, slices.SortedFunc(slices.Values(peer.AllowedIPs), netip.Prefix.Compare)) {
					t.Fatalf("%s has %v, want %v", peer.Node, got, peer.AllowedIPs)
				}
			}
		}
	})
}
