package wg

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
)

// state is what a device holds, as far as Set is concerned with it.
type state struct {
	publicKey  identity.PublicKey // the device's own; zero where it has none
	listenPort uint16
	peers      map[identity.PublicKey]*peerState
	// owners are the peers by allowed IP. WireGuard gives each prefix to one peer only.
	owners map[netip.Prefix]identity.PublicKey
}

type peerState struct {
	// endpoint is WireGuard's when it was read, or the last that was set; zero where there is none.
	endpoint netip.AddrPort
	// live is whether there was a handshake lately, at the time of reading.
	live      bool
	keepalive time.Duration
	// preshared is whether the peer has a preshared key, which none of ours has.
	preshared  bool
	allowedIPs []netip.Prefix // in no order
}

// newState makes a state with room for so many peers.
func newState(peers int) *state {
	return &state{peers: make(map[identity.PublicKey]*peerState, peers), owners: make(map[netip.Prefix]identity.PublicKey, 2*peers)}
}

// holds says whether two states are the same in all that Set brings about: WireGuard itself changes endpoints, and has handshakes.
func (s *state) holds(o *state) bool {
	return s.publicKey == o.publicKey && s.listenPort == o.listenPort && maps.Equal(s.owners, o.owners) &&
		maps.EqualFunc(s.peers, o.peers, func(a, b *peerState) bool { return a.keepalive == b.keepalive && a.preshared == b.preshared })
}

// add enters a peer that was read.
func (s *state) add(key identity.PublicKey, peer *peerState) {
	s.peers[key] = peer
	for _, prefix := range peer.allowedIPs {
		s.owners[prefix] = key
	}
}

// apply does to the state what WireGuard does to the device.
func (s *state) apply(c Change) {
	if c.Remove {
		s.release(c.PublicKey)
		delete(s.peers, c.PublicKey)
		return
	}
	peer, ok := s.peers[c.PublicKey]
	if !ok {
		peer = &peerState{}
		s.peers[c.PublicKey] = peer
	}
	if c.Endpoint.IsValid() {
		peer.endpoint = c.Endpoint
	}
	if c.Keepalive != nil {
		peer.keepalive = *c.Keepalive
	}
	if c.ClearPresharedKey {
		peer.preshared = false
	}
	if c.ReplaceAllowedIPs {
		s.release(c.PublicKey)
	}
	for _, prefix := range c.AllowedIPs {
		if owner, taken := s.owners[prefix]; taken {
			if owner == c.PublicKey {
				continue
			}
			loser := s.peers[owner]
			loser.allowedIPs = slices.DeleteFunc(loser.allowedIPs, func(p netip.Prefix) bool { return p == prefix })
		}
		s.owners[prefix] = c.PublicKey
		peer.allowedIPs = append(peer.allowedIPs, prefix)
	}
}

// release takes all allowed IPs from a peer.
func (s *state) release(key identity.PublicKey) {
	peer, ok := s.peers[key]
	if !ok {
		return
	}
	for _, prefix := range peer.allowedIPs {
		delete(s.owners, prefix)
	}
	peer.allowedIPs = nil
}
