// Package wg drives a WireGuard device to the state that a plan's lane wants: the kernel's device where the kernel has
// WireGuard, else the userspace one in a process of its own (package tunnel). The types of wgctrl stop here.
//
// The lane's addresses, MTU, whether it is up, and the routes over it are mesh/route's; but a kernel's device that was made again is
// set up here, before it calls its peers.
package wg

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// Options say how a Device works.
type Options struct {
	// Mode chooses the implementation; empty is Auto.
	Mode Mode
	// LogDir is where the default Spawn keeps the tunnel process's log, LogPath(LogDir, iface). Empty is DefaultLogDir.
	LogDir string
	// Spawn starts the tunnel process of an interface, detached, and returns when it was started. The default runs this same
	// executable again as `tunnel --interface NAME`, and returns when the process answers.
	Spawn func(iface string) error
	// OnMessage is told of configuration messages sent to WireGuard.
	OnMessage func(n int)
}

// SetOptions say how far Set may go.
type SetOptions struct {
	// Prune removes what the lane does not have. Without it nothing is removed, neither a peer nor an allowed IP: the caller
	// does not know everything yet. (An allowed IP moves from one peer to another all the same.)
	Prune bool
}

// Device keeps one WireGuard device in one network namespace, the one that New was called in. Set must be called in the same
// namespace, because the tunnel process inherits the caller's. Its methods may be called concurrently.
type Device struct {
	mode   Mode // Kernel or Userspace: what a link that we make is
	auto   bool // a link of ours that is there already stays what it is
	spawn  func(iface string) error
	links  *netlink.Handle
	client *client

	mu sync.Mutex // guards what follows, and that one message follows another
	// name is the interface of the last Set.
	name string
	// running tells one incarnation of the device from another.
	running incarnation
	// known is what the device is known to hold; nil where it must be read.
	known *state
	// settled are the peers of the last Set that pruned, whole: known holds what they say. They count only while settledIn is
	// known.
	settled   []*mesh.Peer
	settledIn *state
	// unpruned are the peers of the last Set if it changed something and did not prune.
	unpruned []*mesh.Peer
	// claims are the endpoints last wanted of each peer. They outlive known: they are what tells a claim that changed from an
	// endpoint that roamed.
	claims map[identity.PublicKey]netip.AddrPort
	// nudged are the peers whose keepalive Nudge has changed, with their own.
	nudged map[identity.PublicKey]time.Duration
	// greet is set while every peer must still be made to hear from a device that was started anew.
	greet bool
	// left are the peers that were removed lately, and back those that came back and must still be made to hear from us.
	left map[identity.PublicKey]time.Time
	back []identity.PublicKey
}

// New opens a device's control sockets in the calling thread's network namespace. Nothing is made before Set.
func New(options Options) (*Device, error) {
	d := &Device{mode: options.Mode, spawn: options.Spawn, claims: map[identity.PublicKey]netip.AddrPort{}}
	if err := d.choose(); err != nil {
		return nil, err
	}
	if d.spawn == nil {
		dir := options.LogDir
		if dir == "" {
			dir = DefaultLogDir
		}
		d.spawn = func(iface string) error { return spawnSelf(iface, dir) }
	}
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink socket: %w", err)
	}
	control, err := wgctrl.New()
	if err != nil {
		links.Close()
		return nil, fmt.Errorf("opening WireGuard control socket: %w", err)
	}
	d.links, d.client = links, newClient(control, options.OnMessage)
	return d, nil
}

// choose makes of the mode what a new link is to be. Kernel without WireGuard in the kernel is an error now, before a userspace
// device would be replaced.
func (d *Device) choose() error {
	switch d.mode {
	case Userspace:
		return nil
	case Kernel, Auto, "":
	default:
		return fmt.Errorf("WireGuard mode %q is not one: want %s, %s or %s", d.mode, Auto, Kernel, Userspace)
	}
	kernel, err := Probe()
	if err != nil {
		return err
	}
	if d.mode == Kernel && !kernel {
		return errors.New("WireGuard mode kernel: this kernel has no WireGuard (module wireguard): want auto or userspace")
	}
	d.auto = d.mode != Kernel
	d.mode = Userspace
	if kernel {
		d.mode = Kernel
	}
	return nil
}

// Close closes the control sockets. The device stays as it is.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.links.Close()
	if err := d.client.close(); err != nil {
		return fmt.Errorf("closing WireGuard control socket: %w", err)
	}
	return nil
}

// Set makes the device what the lane says: it exists, is Warren's, has this key and port and these peers. The first call reads the
// device and adopts what it finds; later ones send differences only, additions and changes before removals. After an error what
// was achieved stays, and the next call reads the device again.
//
// Whoever's link has the lane's name without Warren's alias is left alone: the error is a *ForeignError.
func (d *Device) Set(lane mesh.Lane, key identity.PrivateKey, options SetOptions) error {
	if public := key.Public(); public != lane.PublicKey {
		return fmt.Errorf("lane %s is planned with public key %s, and the node's key is %s", lane.Name, lane.PublicKey, public)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.set(lane, key, options)
	if err != nil {
		d.known = nil
	}
	return err
}

func (d *Device) set(lane mesh.Lane, key identity.PrivateKey, options SetOptions) error {
	if err := d.ensure(lane.Name); err != nil {
		return err
	}
	if err := d.load(); err != nil {
		return err
	}
	if err := d.setDevice(lane, key); err != nil {
		return err
	}
	if err := d.setPeers(lane.Peers, options.Prune); err != nil {
		return err
	}
	if d.greet {
		if err := d.hello(); err != nil {
			return err
		}
		d.greet, d.back = false, nil
	}
	return d.callBack()
}

// setDevice gives the device its key and port, each only where it is another: a port that is set again costs the userspace device
// its sockets.
func (d *Device) setDevice(lane mesh.Lane, key identity.PrivateKey) error {
	if d.known.listenPort != lane.ListenPort {
		if err := checkPort(lane.ListenPort); err != nil {
			return fmt.Errorf("setting port %d of device %s: %w", lane.ListenPort, lane.Name, err)
		}
		if err := d.client.setPort(lane.Name, lane.ListenPort); err != nil {
			return fmt.Errorf("setting port %d of device %s: %w", lane.ListenPort, lane.Name, err)
		}
		d.known.listenPort = lane.ListenPort
	}
	if d.known.publicKey != lane.PublicKey {
		if err := d.client.setKey(lane.Name, key); err != nil {
			return fmt.Errorf("setting the key of device %s: %w", lane.Name, err)
		}
		// WireGuard drops a peer that has the device's own key.
		d.known.apply(Change{PublicKey: lane.PublicKey, Remove: true})
		d.known.publicKey = lane.PublicKey
		d.settledIn = nil
	}
	return nil
}

// load reads the device unless it is known.
func (d *Device) load() error {
	if d.known != nil {
		return nil
	}
	known, err := d.read()
	if err != nil {
		return err
	}
	d.known = known
	return nil
}

// send sends one message and, where it succeeded, remembers what it did.
func (d *Device) send(message []Change) error {
	if err := d.client.setPeers(d.name, message); err != nil {
		return err
	}
	for _, change := range message {
		d.known.apply(change)
		d.renudge(change)
		d.noteChange(change)
	}
	return nil
}

// setPeers sends the difference between what is known and what is wanted, and remembers each message that succeeded.
func (d *Device) setPeers(want []*mesh.Peer, prune bool) error {
	have, rest := d.unsettled(want)
	changes := d.known.diff(d.claims, rest, have, prune)
	for _, message := range chunks(changes) {
		if err := d.send(message); err != nil {
			return fmt.Errorf("setting %d peers of device %s: %w", len(message), d.name, err)
		}
		for _, change := range message {
			if change.Endpoint.IsValid() {
				d.claims[change.PublicKey] = change.Endpoint
			}
		}
	}
	wanted := make(map[identity.PublicKey]struct{}, len(rest))
	for _, peer := range rest {
		wanted[peer.PublicKey] = struct{}{}
		d.claims[peer.PublicKey] = peer.Endpoint
	}
	for _, key := range have {
		if _, ok := wanted[key]; !ok {
			delete(d.claims, key)
		}
	}
	if prune {
		d.settled, d.settledIn, d.unpruned = want, d.known, nil
	} else if len(changes) > 0 {
		d.unpruned = want
	}
	return nil
}

// unsettled are the peers to look at: those that the device has, or is believed to have claimed, and those that are wanted. Where
// the device is known to hold what was wanted last, that is what has changed since, and one event costs the same in a mesh of any
// size.
func (d *Device) unsettled(want []*mesh.Peer) (have []identity.PublicKey, rest []*mesh.Peer) {
	if d.settledIn != d.known || d.unpruned != nil && !same(d.unpruned, want) {
		have = slices.Collect(maps.Keys(d.known.peers))
		for key := range d.claims {
			if _, ok := d.known.peers[key]; !ok {
				have = append(have, key)
			}
		}
		return have, want
	}
	before, rest := mesh.Trim(d.settled, want, (*mesh.Peer).Equal)
	for _, peer := range before {
		have = append(have, peer.PublicKey)
	}
	return have, rest
}

// same says whether two lists are one.
func same(a, b []*mesh.Peer) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// Forget makes the next Set read the device and repair what somebody else changed. Roamed endpoints stay.
func (d *Device) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known = nil
}

// Audit reads the device and says whether the next Set has to: whether it holds something else than what is known of it, but for endpoints
// that roamed, or cannot be read.
func (d *Device) Audit() (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		return true
	}
	if d.running.socket != (socket{}) {
		same, err := d.client.same(d.name)
		if err != nil {
			d.known = nil
		}
		if same || err != nil {
			return !same
		}
	}
	now, err := d.read()
	if err != nil || !d.known.holds(now) {
		d.known = nil
		return true
	}
	if d.settledIn == d.known {
		d.settledIn = now
	}
	d.known = now
	return false
}

// ErrNoDevice is what asking about a device says before the first Set.
var ErrNoDevice = errors.New("no device was set yet")
