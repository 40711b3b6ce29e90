package podnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// retiredGroup is the group of links (ip link show group N) that are to be removed: "wrn" and a zero, a number that nobody else comes upon.
// Which they are the kernel itself remembers, whatever becomes of the agent.
const retiredGroup = 'w'<<24 | 'r'<<16 | 'n'<<8

// Retire takes a pod off the network at once, and leaves what the kernel takes long for to Sweep: the host's end goes down, with its routes
// and neighbours, so that nothing passes in either direction and the pod's end has no carrier. To everything but Sweep such a wire is none. It
// is called in the host's network namespace; the pod's may be gone. No wire is no error.
func Retire(namespace, name, iface string) error {
	if err := retire(HostLink(namespace, name, iface), alias(namespace, name)); err != nil {
		return fmt.Errorf("retiring the wire of pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

func retire(name, alias string) error {
	host, err := newEnd()
	if err != nil {
		return err
	}
	defer host.Close()
	link, err := host.find(name, alias)
	if err != nil || link == nil {
		return err
	}
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index, header.Change = int32(link.Attrs().Index), unix.IFF_UP //nolint:gosec // the kernel's own index
	request.AddData(header)
	request.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(retiredGroup)))
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("setting link %s down: %w", name, err)
	}
	return nil
}

func retired(link netlink.Link) bool { return link.Attrs().Group == retiredGroup }

// Sweep removes all wires that were retired, by whichever agent. The kernel lets them wait together for what each would wait for alone: no
// processor looks at a link any more. It is called in the host's network namespace.
func Sweep() error {
	request := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(retiredGroup)))
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing the wires of pods that are gone: %w", err)
	}
	return nil
}
