package wg

import (
	"fmt"
	"slices"

	"github.com/warren-mesh/warren/crypto/identity"
)

// Renew makes peers anew as they are, but for their sessions and for what WireGuard remembers of the time in their handshakes. The next
// Set makes them hear from this node. Peers that the device does not have are left out, and before the first Set it has none.
func (d *Device) Renew(keys ...identity.PublicKey) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.name == "" {
		return nil
	}
	if err := d.load(); err != nil {
		return err
	}
	for _, key := range keys {
		peer, ok := d.known.peers[key]
		if !ok {
			continue
		}
		again := Change{PublicKey: key, New: true, Endpoint: peer.endpoint, AllowedIPs: slices.Clone(peer.allowedIPs)}
		if interval := peer.keepalive; interval != 0 {
			again.Keepalive = &interval
		}
		if err := d.send([]Change{{PublicKey: key, Remove: true}, again}); err != nil {
			d.known = nil
			return fmt.Errorf("making peer %s of device %s anew: %w", key, d.name, err)
		}
	}
	return nil
}
