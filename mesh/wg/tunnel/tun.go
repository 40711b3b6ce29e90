package tunnel

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/warren-mesh/warren/mesh"
)

// before is what there was of a link when it was attached to.
type before struct {
	there bool
	up    bool
	mtu   int
}

// openTUN makes the TUN, or attaches to it where it is there.
func openTUN(name string) (tun.Device, before, error) {
	was, err := existing(name)
	if err != nil {
		return nil, before{}, err
	}
	link, err := tun.CreateTUN(name, was.mtu)
	if errors.Is(err, unix.EBUSY) {
		return nil, before{}, fmt.Errorf("attaching to link %s: another process has it: %w", name, err)
	}
	if err != nil {
		return nil, before{}, fmt.Errorf("attaching to link %s: %w", name, err)
	}
	if !was.there {
		// As long as the link is not persistent it ends with us, so that no link of ours is ever left without its alias.
		if err := setAlias(name); err != nil {
			return nil, before{}, errors.Join(err, link.Close())
		}
	}
	return link, was, nil
}

// existing looks at the link of this name. One that is not a lane of Warren's is an error.
func existing(name string) (before, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return before{mtu: device.DefaultMTU}, nil // until mesh/route sets the lane's
	}
	if err != nil {
		return before{}, fmt.Errorf("looking up link %s: %w", name, err)
	}
	attrs := link.Attrs()
	if attrs.Alias != mesh.LaneAlias {
		return before{}, fmt.Errorf("link %s is not Warren's: its alias is %q, want %q", name, attrs.Alias, mesh.LaneAlias)
	}
	return before{there: true, up: attrs.Flags&net.FlagUp != 0, mtu: attrs.MTU}, nil
}

func setAlias(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("looking up link %s: %w", name, err)
	}
	if err := netlink.LinkSetAlias(link, mesh.LaneAlias); err != nil {
		return fmt.Errorf("setting the alias of link %s: %w", name, err)
	}
	return nil
}

// persist makes the link outlive the process (TUNSETPERSIST).
func persist(link tun.Device) error {
	// Not File().Fd(), which would make the descriptor a blocking one.
	raw, err := link.File().SyscallConn()
	if err != nil {
		return fmt.Errorf("making the link persistent: %w", err)
	}
	var ioctlErr error
	controlErr := raw.Control(func(fd uintptr) { ioctlErr = unix.IoctlSetInt(int(fd), unix.TUNSETPERSIST, 1) })
	if err := errors.Join(controlErr, ioctlErr); err != nil {
		return fmt.Errorf("making the link persistent: %w", err)
	}
	return nil
}
