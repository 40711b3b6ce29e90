package podnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// SetMTU sets the MTU of both ends of a pod's wire. Of the Spec it takes where the wire is, and the MTU. A wire that is gone is no error.
func SetMTU(s Spec) error {
	if err := setMTU(s); err != nil {
		return fmt.Errorf("setting the MTU of pod %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

func setMTU(s Spec) error {
	host, err := newEnd()
	if err != nil {
		return err
	}
	defer host.Close()
	link, err := host.find(HostLink(s.Namespace, s.Name, s.Interface), alias(s.Namespace, s.Name))
	if err != nil || link == nil {
		return err
	}
	pod, err := openNamespace(s.NetNS)
	if err != nil {
		return err
	}
	defer pod.close()
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
