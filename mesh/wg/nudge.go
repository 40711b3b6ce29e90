package wg

import (
	"errors"
	"fmt"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
)

// nudgeInterval is the keepalive of nudged peers.
const nudgeInterval = time.Second

// Nudge makes the peers hear from this node at once and every second from then on, until Settle, so that they roam to an address
// that this node has since a moment ago. No keys are all peers. Peers without an endpoint cannot be reached, and are left out.
// Before the first Set there is nobody to call.
func (d *Device) Nudge(keys ...identity.PublicKey) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.name == "" {
		return nil
	}
	return d.nudge(keys)
}

// Settle gives the nudged peers their own keepalive again. It is to be called some three seconds after Nudge.
func (d *Device) Settle() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settle()
}

// hello makes every peer hear from us once, so that it gives up its session with a device that is no more. A lost handshake is
// repeated by WireGuard itself.
func (d *Device) hello() error {
	if (d.running.socket == socket{}) {
		// The kernel's device says nothing while it is down, as a new one is.
		link, err := d.lookup(d.name)
		if err != nil {
			return err
		}
		if link == nil {
			return fmt.Errorf("link %s was deleted just now", d.name)
		}
		if err := d.links.LinkSetUp(link); err != nil {
			return fmt.Errorf("setting link %s up: %w", d.name, err)
		}
	}
	return errors.Join(d.nudge(nil), d.settle())
}

func (d *Device) nudge(keys []identity.PublicKey) error {
	device, err := d.client.device(d.name)
	if err != nil {
		return err
	}
	chosen := make(map[identity.PublicKey]bool, len(keys))
	for _, key := range keys {
		chosen[key] = true
	}
	off, on := time.Duration(0), nudgeInterval
	var before, now []Change
	own := map[identity.PublicKey]time.Duration{}
	for _, peer := range device.Peers {
		key := identity.PublicKey(peer.PublicKey)
		if peer.Endpoint == nil || len(keys) > 0 && !chosen[key] {
			continue
		}
		own[key] = peer.PersistentKeepaliveInterval
		if earlier, ok := d.nudged[key]; ok {
			own[key] = earlier
		}
		// WireGuard speaks at once when keepalive goes from off to on, and only then.
		if peer.PersistentKeepaliveInterval != 0 {
			before = append(before, Change{PublicKey: key, Keepalive: &off})
		}
		// The same endpoint once more: WireGuard forgets with it which of our addresses it had answered from (the userspace
		// device remembers that where the kernel has no UDP GRO), and which may be gone.
		now = append(now, Change{PublicKey: key, Keepalive: &on, Endpoint: addrPort(peer.Endpoint)})
	}
	if d.nudged == nil {
		d.nudged = map[identity.PublicKey]time.Duration{}
	}
	for key, interval := range own {
		d.nudged[key] = interval
	}
	for _, message := range append(chunks(before), chunks(now)...) {
		if err := d.client.setPeers(d.name, message); err != nil {
			return fmt.Errorf("nudging %d peers of device %s: %w", len(message), d.name, err)
		}
	}
	return nil
}

func (d *Device) settle() error {
	var changes []Change
	for key, interval := range d.nudged {
		changes = append(changes, Change{PublicKey: key, Keepalive: &interval})
	}
	for _, message := range chunks(changes) {
		if err := d.client.setPeers(d.name, message); err != nil {
			d.known = nil // and so the next Set repairs what is left
			return fmt.Errorf("settling %d peers of device %s: %w", len(message), d.name, err)
		}
		for _, change := range message {
			delete(d.nudged, change.PublicKey)
		}
	}
	return nil
}

// renudge remembers what a change makes of a nudged peer.
func (d *Device) renudge(change Change) {
	if _, ok := d.nudged[change.PublicKey]; !ok {
		return
	}
	if change.Remove {
		delete(d.nudged, change.PublicKey)
	} else if change.Keepalive != nil {
		d.nudged[change.PublicKey] = *change.Keepalive
	}
}
