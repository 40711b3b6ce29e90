package wg

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/mesh"
	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

// ForeignError says that a link has a lane's name and is somebody else's.
type ForeignError struct {
	// Name and Type are the link's.
	Name, Type string
	// Alias is what the link has in place of mesh.LaneAlias.
	Alias string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("link %s is not Warren's (type %s, alias %q, want alias %q): remove it, or give the lane another name",
		e.Name, e.Type, e.Alias, mesh.LaneAlias)
}

// Check is a *ForeignError where a link of that name is somebody else's. It changes nothing.
func (d *Device) Check(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.lookup(name)
	return err
}

// kernelType is what netlink calls the kernel's device. The userspace one is a TUN.
const kernelType = "wireguard"

// incarnation tells a device from another one that had its name before. It is comparable; the zero value is none.
type incarnation struct {
	index  int    // of the link
	socket socket // the UAPI socket; the zero value for the kernel's device
}

// ensure makes the link, and the tunnel process of a userspace one, where they are missing. Where the device is not the one that
// we know, what we know of it is forgotten.
func (d *Device) ensure(name string) error {
	link, err := d.lookup(name)
	if err != nil {
		return err
	}
	if link != nil && !d.auto && implementation(link) != d.mode {
		if err := removeLink(d.links, link); err != nil {
			return fmt.Errorf("replacing the %s device: %w", implementation(link), err)
		}
		link = nil
	}
	want := d.mode
	if link != nil {
		want = implementation(link)
	}
	running, err := d.start(name, link, want)
	if err != nil {
		return err
	}
	if d.name != name || d.running != running {
		// Peers may have sessions with the one that was deleted, and would keep to them for 15 s and more.
		d.greet = d.greet || d.name == name && d.running != incarnation{}
		d.name, d.running, d.known, d.nudged = name, running, nil, nil
	}
	return nil
}

// start makes what is missing of the device, and returns which it is.
func (d *Device) start(name string, link netlink.Link, want Mode) (incarnation, error) {
	if want == Kernel {
		return d.startKernel(name, link)
	}
	alive, err := find(name)
	if err != nil {
		return incarnation{}, err
	}
	if link == nil && alive != (socket{}) {
		// The process of a link that was just deleted.
		if err := waitDead(name); err != nil {
			return incarnation{}, err
		}
		alive = socket{}
	}
	if alive == (socket{}) {
		// Its peers still have sessions with a device that is no more.
		d.greet = d.greet || link != nil
		if err := d.spawn(name); err != nil {
			return incarnation{}, fmt.Errorf("starting the tunnel process of %s: %w", name, err)
		}
		if alive, err = waitAlive(name); err != nil {
			return incarnation{}, fmt.Errorf("starting the tunnel process of %s: %w", name, err)
		}
		if link, err = d.lookup(name); err != nil {
			return incarnation{}, err
		}
		if link == nil {
			return incarnation{}, fmt.Errorf("the tunnel process of %s runs, and its link is not here", name)
		}
	}
	return incarnation{index: link.Attrs().Index, socket: alive}, nil
}

func (d *Device) startKernel(name string, link netlink.Link) (incarnation, error) {
	if link == nil {
		err := addKernelLink(d.links, name)
		if err != nil {
			return incarnation{}, err
		}
		if link, err = d.links.LinkByName(name); err != nil {
			return incarnation{}, fmt.Errorf("looking up link %s: %w", name, err)
		}
	}
	return incarnation{index: link.Attrs().Index}, nil
}

// lookup is the link of that name, nil where there is none, and an error where it is not ours.
func (d *Device) lookup(name string) (netlink.Link, error) {
	link, err := d.links.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up link %s: %w", name, err)
	}
	_, isTUN := link.(*netlink.Tuntap)
	if link.Attrs().Alias != mesh.LaneAlias || !isTUN && link.Type() != kernelType {
		return nil, &ForeignError{Name: name, Type: link.Type(), Alias: link.Attrs().Alias}
	}
	return link, nil
}

func implementation(link netlink.Link) Mode {
	if link.Type() == kernelType {
		return Kernel
	}
	return Userspace
}

// removeLink deletes a lane's link and waits for its tunnel process to end.
func removeLink(links *netlink.Handle, link netlink.Link) error {
	name := link.Attrs().Name
	if err := links.LinkDel(link); err != nil {
		return fmt.Errorf("deleting link %s: %w", name, err)
	}
	if implementation(link) == Kernel {
		return nil
	}
	if err := waitDead(name); err != nil {
		return err
	}
	return removeStale(tunnel.SocketPath(name))
}
