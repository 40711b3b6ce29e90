package wg

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// Change is what one message tells WireGuard about one peer. What is not in it stays as it is.
type Change struct {
	PublicKey identity.PublicKey
	// New peers are created. Others are changed only if they are there: half a peer is worse than none, which the next
	// reading of the device sees.
	New bool
	// Remove the peer; nothing else counts then.
	Remove bool
	// Endpoint is set where it is valid.
	Endpoint netip.AddrPort
	// Keepalive is set where it is not nil; 0 is off.
	Keepalive *time.Duration
	// ClearPresharedKey takes away a preshared key, which none of our peers has.
	ClearPresharedKey bool
	// ReplaceAllowedIPs removes all others. WireGuard drops the peer's packets between the two, so it is set only where
	// there are others to remove.
	ReplaceAllowedIPs bool
	// AllowedIPs are given to the peer, and taken from whichever has them.
	AllowedIPs []netip.Prefix
}

// String is the change as `wg set` has it. Allowed IPs that are added to the others have a plus.
func (c Change) String() string {
	words := []string{"peer", c.PublicKey.String()}
	if c.Remove {
		return strings.Join(append(words, "remove"), " ")
	}
	if c.ClearPresharedKey {
		words = append(words, "preshared-key", "/dev/null")
	}
	if c.Endpoint.IsValid() {
		words = append(words, "endpoint", c.Endpoint.String())
	}
	if c.Keepalive != nil {
		words = append(words, "persistent-keepalive", c.Keepalive.String())
	}
	if c.ReplaceAllowedIPs || len(c.AllowedIPs) > 0 {
		plus := "+"
		if c.ReplaceAllowedIPs || c.New {
			plus = ""
		}
		var prefixes []string
		for _, prefix := range c.AllowedIPs {
			prefixes = append(prefixes, plus+prefix.String())
		}
		words = append(words, "allowed-ips", strings.Join(prefixes, ","))
	}
	return strings.Join(words, " ")
}

// diff is what turns the state into the wanted peers: at most one change of each peer, additions and changes in the order of want,
// then removals by key, of those among have that are not wanted. Without prune nothing is removed. claims are the endpoints last
// wanted. What is neither in want nor in have is as it should be.
func (s *state) diff(claims map[identity.PublicKey]netip.AddrPort, want []*mesh.Peer, have []identity.PublicKey, prune bool) []Change {
	var changes []Change
	wanted := make(map[identity.PublicKey]struct{}, len(want))
	keeps := make(map[netip.Prefix]struct{}, 2*len(want))
	for _, peer := range want {
		wanted[peer.PublicKey] = struct{}{}
		for _, prefix := range peer.AllowedIPs {
			keeps[prefix] = struct{}{}
		}
	}
	for _, peer := range want {
		have, ok := s.peers[peer.PublicKey]
		if !ok {
			changes = append(changes, create(peer))
			continue
		}
		if change, differs := s.update(have, claims, peer, keeps, prune); differs {
			changes = append(changes, change)
		}
	}
	if !prune {
		return changes
	}
	unwanted := slices.DeleteFunc(slices.Clone(have), func(key identity.PublicKey) bool {
		_, there := s.peers[key]
		_, ok := wanted[key]
		return ok || !there
	})
	slices.SortFunc(unwanted, func(a, b identity.PublicKey) int { return slices.Compare(a[:], b[:]) })
	for _, key := range unwanted {
		changes = append(changes, Change{PublicKey: key, Remove: true})
	}
	return changes
}

func create(peer *mesh.Peer) Change {
	change := Change{PublicKey: peer.PublicKey, New: true, Endpoint: peer.Endpoint, AllowedIPs: peer.AllowedIPs}
	if interval := seconds(peer.Keepalive); interval != 0 {
		change.Keepalive = &interval
	}
	return change
}

// update is the change of a peer that is there already. keeps are the allowed IPs of all wanted peers.
func (s *state) update(have *peerState, claims map[identity.PublicKey]netip.AddrPort, want *mesh.Peer,
	keeps map[netip.Prefix]struct{}, prune bool,
) (change Change, differs bool) {
	change = Change{PublicKey: want.PublicKey, ClearPresharedKey: have.preshared}
	claim, claimed := claims[want.PublicKey]
	change.Endpoint = newEndpoint(have, claim, claimed, want.Endpoint)
	if interval := seconds(want.Keepalive); interval != have.keepalive {
		change.Keepalive = &interval
	}
	for _, prefix := range want.AllowedIPs {
		if owner, ok := s.owners[prefix]; !ok || owner != want.PublicKey {
			change.AllowedIPs = append(change.AllowedIPs, prefix)
		}
	}
	// What another peer is to have moves there by that peer's own change; only what nobody is to have needs a replacement.
	if prune && slices.ContainsFunc(have.allowedIPs, func(p netip.Prefix) bool { _, ok := keeps[p]; return !ok }) {
		change.ReplaceAllowedIPs, change.AllowedIPs = true, want.AllowedIPs
	}
	differs = change.ClearPresharedKey || change.Endpoint.IsValid() || change.Keepalive != nil ||
		change.ReplaceAllowedIPs || len(change.AllowedIPs) > 0
	return change, differs
}

// newEndpoint is the endpoint to set, or the zero value where the peer is to keep what it has: one that WireGuard learnt by
// roaming is better than a claim that has not changed. Where we do not know what was claimed before, the endpoint of a peer that
// is being talked to stays.
func newEndpoint(have *peerState, claim netip.AddrPort, claimed bool, want netip.AddrPort) netip.AddrPort {
	switch {
	case have.endpoint == want,
		have.endpoint.IsValid() && claimed && claim == want,
		have.endpoint.IsValid() && !claimed && have.live:
		return netip.AddrPort{}
	}
	return want // may be the zero value: an endpoint cannot be taken away
}

// seconds is an interval as precise as WireGuard keeps it.
func seconds(interval time.Duration) time.Duration { return interval.Truncate(time.Second) }

// chunkSize is how many peers one message has at most: few enough that a device is never busy with one for long.
const chunkSize = 256

func chunks(changes []Change) [][]Change { return slices.Collect(slices.Chunk(changes, chunkSize)) }
