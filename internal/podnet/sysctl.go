package podnet

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/sysctl"
)

const (
	conf4 = "/proc/sys/net/ipv4/conf"
	conf6 = "/proc/sys/net/ipv6/conf"
)

// addressesByHand is the addr_gen_mode in which the kernel makes no link-local address.
const addressesByHand = 1

// answersNoARP is the arp_ignore with which the kernel answers for none of its addresses, and learns nobody's by being asked: a pod knows its
// gateway beforehand, and one that asks could fill the node's table with addresses that it makes up.
const answersNoARP = 8

// hostSysctls sets those of the host's end. rp_filter is the node's own business: the routes are right for the strict one.
func hostSysctls(s Spec, name string) error {
	ipv4, ipv6 := s.families()
	var errs []error
	if ipv4 {
		errs = append(errs, setSysctl(conf4, name, "forwarding", 1))
	}
	return errors.Join(append(errs,
		setSysctl(conf4, name, "arp_ignore", answersNoARP),
		unlessNeeded(ipv6, setSysctl(conf6, name, "addr_gen_mode", addressesByHand)),
		unnamedSysctls(s, name))...)
}

// unnamedSysctls sets those of the host's end that a new link does not get with its name.
func unnamedSysctls(s Spec, name string) error {
	_, ipv6 := s.families()
	err := unlessNeeded(ipv6, writeSysctl(conf6, name, "accept_ra", 0)) // a pod is no router
	if ipv6 {
		err = errors.Join(err, setSysctl(conf6, name, "disable_ipv6", 0), setSysctl(conf6, name, "forwarding", 1))
	}
	return err
}

// podSysctls sets those of the pod's end, in the pod's namespace. Container runtimes may have disabled IPv6 there.
func podSysctls(s Spec) error {
	_, ipv6 := s.families()
	err := unlessNeeded(ipv6, writeSysctl(conf6, s.Interface, "accept_ra", 0)) // nobody advertises: do not ask
	if ipv6 {
		err = errors.Join(err, setSysctl(conf6, s.Interface, "disable_ipv6", 0))
	}
	return err
}

// unlessNeeded forgives that the kernel has no IPv6, where the pod has no address of it.
func unlessNeeded(needed bool, err error) error {
	if !needed && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// setSysctl sets an interface's sysctl in the namespace of the calling thread. What has the value already is not written: for many the kernel takes the
// lock of all links then. To read one is what a wire costs most of: it is done by plain system calls.
func setSysctl(conf, name, key string, value int) error {
	if old, err := readSysctl(filepath.Join(conf, name, key)); err == nil && old == strconv.Itoa(value) {
		return nil
	}
	return writeSysctl(conf, name, key, value)
}

// writeSysctl is for those that cost no more to write than to read.
func writeSysctl(conf, name, key string, value int) error {
	if err := sysctl.Write(filepath.Join(conf, name, key), strconv.Itoa(value)); err != nil {
		return fmt.Errorf("setting sysctl %s of %s to %d: %w", key, name, value, err)
	}
	return nil
}

func readSysctl(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	var text [32]byte
	n, err := unix.Read(fd, text[:])
	return strings.TrimSpace(string(text[:max(n, 0)])), errors.Join(err, unix.Close(fd))
}
