package podnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Attach gives a pod its wire. It is called in the host's network namespace. When it returns, packets pass in both directions
// at once: nothing waits for a carrier, for neighbour discovery or for duplicate address detection.
//
// What is there already is kept, if it joins the same two namespaces, and brought to the Spec without a packet lost. A wire
// to another namespace, of an earlier pod of that name, is replaced. An address that is somebody else's already is an error
// (unix.EEXIST). If Attach fails, the wire that it made is gone again.
func Attach(s Spec) (Result, error) {
	if err := s.validate(); err != nil {
		return Result{}, s.failed(err)
	}
	sandbox, err := OpenSandbox(s.NetNS)
	if err != nil {
		return Result{}, s.failed(err)
	}
	defer sandbox.Close()
	return sandbox.Attach(s)
}

// Attach is the same where the pod's network namespace is open already.
func (n *Sandbox) Attach(s Spec) (Result, error) {
	err := s.validate()
	if err == nil {
		err = attach(s, s.Result(), n)
	}
	if err != nil {
		return Result{}, s.failed(err)
	}
	return s.Result(), nil
}

func (s Spec) failed(err error) error {
	return fmt.Errorf("attaching pod %s/%s: %w", s.Namespace, s.Name, err)
}

func attach(s Spec, result Result, pod *Sandbox) error {
	if err := makeWire(s, result, pod); !errors.Is(err, errThere) {
		return err
	}
	host, err := newEnd()
	if err != nil {
		return err
	}
	defer host.Close()
	link, same, err := host.former(s, result, pod)
	if err != nil {
		return err
	}
	if same {
		return converge(s, result, host, pod, link)
	}
	if link != 0 { // Else it went meanwhile, or it is in the pod that the name is taken.
		s.step("remove the former wire")
		if err := host.remove(link); err != nil {
			return err
		}
	}
	return makeWire(s, result, pod)
}

// converge brings both ends to the Spec, the host's last: with its routes, the pod is reachable.
func converge(s Spec, result Result, host *end, pod *Sandbox, link int) error {
	s.step("prepare the host's end")
	if err := host.prepareHost(s, result.HostLink, link); err != nil {
		return fmt.Errorf("preparing %s: %w", result.HostLink, err)
	}
	s.step("set the pod's end up")
	if err := pod.do(func() error { return setUpPod(s, result) }); err != nil {
		return fmt.Errorf("setting up %s in the pod: %w", s.Interface, err)
	}
	s.step("set the host's end up")
	if err := host.setUpHost(s, result, link); err != nil {
		return fmt.Errorf("setting up %s: %w", result.HostLink, err)
	}
	return nil
}

// Detach takes a pod's wire away, both ends and all that hung on it. It is called in the host's network namespace; the pod's
// may be gone. No wire is no error.
func Detach(namespace, name, iface string) error {
	host, err := newEnd()
	if err != nil {
		return fmt.Errorf("detaching pod %s/%s: %w", namespace, name, err)
	}
	defer host.Close()
	link, err := host.findAny(HostLink(namespace, name, iface), alias(namespace, name))
	if err == nil && link != nil {
		err = host.remove(link.Attrs().Index)
	}
	if err != nil {
		return fmt.Errorf("detaching pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// remove deletes a link; its peer goes with it.
func (e *end) remove(index int) error {
	err := e.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Index: index}})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing link %d: %w", index, err)
	}
	return nil
}
