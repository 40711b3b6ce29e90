package podnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Tune brings a wire that is there to what a new one would have: the MTU of both ends, and the host's sysctls, which an agent before may have
// set otherwise. A wire that is gone is no error.
func Tune(s Spec) error {
	if err := tune(s); err != nil {
		return fmt.Errorf("tuning the wire of pod %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

func tune(s Spec) error {
	host, err := newEnd()
	if err != nil {
		return err
	}
	defer host.Close()
	link, err := host.find(HostLink(s.Namespace, s.Name, s.Interface), alias(s.Namespace, s.Name))
	if err != nil || link == nil {
		return err
	}
	if err := hostSysctls(s, link.Attrs().Name); err != nil {
		return err
	}
	pod, err := OpenSandbox(s.NetNS)
	if err != nil {
		return err
	}
	defer pod.Close()
	inPod := func() error { return pod.do(func() error { return setPodMTU(s, link) }) }
	inHost := func() error {
		if link.Attrs().MTU == s.MTU {
			return nil
		}
		return host.LinkSetMTU(link, s.MTU)
	}
	if link.Attrs().MTU < s.MTU { // Who answers takes large packets before they are sent to it.
		return errors.Join(inPod(), inHost())
	}
	return errors.Join(inHost(), inPod())
}

func setPodMTU(s Spec, host netlink.Link) error {
	same, err := isPeer(s.Interface, host)
	if err != nil || !same {
		return err
	}
	e, err := newEnd()
	if err != nil {
		return err
	}
	defer e.Close()
	link, err := e.LinkByName(s.Interface)
	if err != nil || link.Attrs().MTU == s.MTU {
		return err
	}
	return e.LinkSetMTU(link, s.MTU)
}
