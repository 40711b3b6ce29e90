package wg

import (
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/crypto/identity"
)

// liveAge is how old a peer's last handshake may be for it to have a session: WireGuard's reject-after-time.
const liveAge = 3 * time.Minute

// PeerStatus is a peer as WireGuard has it now.
type PeerStatus struct {
	PublicKey identity.PublicKey
	// Endpoint is where WireGuard sends to; zero where it does not know.
	Endpoint netip.AddrPort
	// LastHandshake is zero where there was none.
	LastHandshake time.Time
	// ReceiveBytes and TransmitBytes count what went over the underlay.
	ReceiveBytes, TransmitBytes int64
	// AllowedIPs are sorted.
	AllowedIPs []netip.Prefix
	// Keepalive is the persistent keepalive interval; 0 is off.
	Keepalive time.Duration
}

// Peers reads the peers of the device of the last Set, ordered by public key.
func (d *Device) Peers() ([]PeerStatus, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.name == "" {
		return nil, ErrNoDevice
	}
	device, err := d.client.device(d.name)
	if err != nil {
		return nil, err
	}
	out := make([]PeerStatus, 0, len(device.Peers))
	for _, peer := range device.Peers {
		status := PeerStatus{
			PublicKey: identity.PublicKey(peer.PublicKey), Endpoint: addrPort(peer.Endpoint), LastHandshake: handshake(peer),
			ReceiveBytes: peer.ReceiveBytes, TransmitBytes: peer.TransmitBytes,
			AllowedIPs: prefixes(peer.AllowedIPs), Keepalive: peer.PersistentKeepaliveInterval,
		}
		slices.SortFunc(status.AllowedIPs, netip.Prefix.Compare)
		out = append(out, status)
	}
	slices.SortFunc(out, func(a, b PeerStatus) int { return slices.Compare(a.PublicKey[:], b.PublicKey[:]) })
	return out, nil
}

// read reads the device into a state.
func (d *Device) read() (*state, error) {
	device, err := d.client.device(d.name)
	if err != nil {
		return nil, err
	}
	known := newState(len(device.Peers))
	if device.PrivateKey != (wgtypes.Key{}) {
		known.publicKey = identity.PublicKey(device.PublicKey)
	}
	known.listenPort = uint16(device.ListenPort) // #nosec G115 -- a port has 16 bits
	for _, peer := range device.Peers {
		key := identity.PublicKey(peer.PublicKey)
		have := &peerState{
			endpoint: addrPort(peer.Endpoint), live: time.Since(handshake(peer)) < liveAge,
			keepalive: peer.PersistentKeepaliveInterval, preshared: peer.PresharedKey != wgtypes.Key{},
			allowedIPs: prefixes(peer.AllowedIPs),
		}
		if own, ok := d.nudged[key]; ok {
			have.keepalive = own
		}
		known.add(key, have)
	}
	return known, nil
}

// handshake is zero where there was none, whichever way the device says so.
func handshake(peer wgtypes.Peer) time.Time {
	if peer.LastHandshakeTime.Unix() <= 0 {
		return time.Time{}
	}
	return peer.LastHandshakeTime
}
