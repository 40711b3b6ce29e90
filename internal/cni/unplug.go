package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// IsNetNS says whether the path is a network namespace, or another one: the kernel's own files and nothing else are on nsfs.
func IsNetNS(path string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && stat.Type == unix.NSFS_MAGIC
}

// Unplug removes an interface of a pod, and with it the host's end. A namespace or an interface that is gone is no error.
func Unplug(netns, iface string) error {
	if !IsNetNS(netns) {
		return nil
	}
	file, err := os.Open(netns) //nolint:gosec // the runtime's
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening network namespace: %w", err)
	}
	defer func() { _ = file.Close() }()
	if err := refuseOwn(file); err != nil {
		return err
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: int(file.Fd())})
	if err != nil {
		return fmt.Errorf("opening rtnetlink in %s: %w", netns, err)
	}
	defer func() { _ = conn.Close() }()
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.IFLA_IFNAME, Data: append([]byte(iface), 0)}})
	if err != nil {
		return fmt.Errorf("removing %s from %s: %w", iface, netns, err)
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_DELLINK, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(make([]byte, unix.SizeofIfInfomsg), attributes...),
	})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing %s from %s: %w", iface, netns, err)
	}
	return nil
}

// refuseOwn keeps a mistaken path from costing the host a link of its own.
func refuseOwn(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return err
	}
	if os.SameFile(info, own) {
		return errors.New("the network namespace is the host's own")
	}
	return nil
}
