package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// residents are the threads of this machine, of any process, that are in one of these namespaces ("net:[4026532281]"), by
// the ID of their process.
func residents(inodes []string) (map[int][]string, error) {
	links, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/*")
	if err != nil {
		return nil, err
	}
	found := map[int][]string{}
	for _, link := range links {
		name, err := os.Readlink(link)
		if err != nil || !slices.Contains(inodes, name) {
			continue // a thread that has ended has none
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			return nil, err
		}
		if !slices.Contains(found[pid], name) {
			found[pid] = append(found[pid], name)
		}
	}
	return found, nil
}

// killAll ends every process that is in the network namespace of the node or of one of its pods.
func (n *Node) killAll() error {
	var inodes []string
	hosts := []*Host{&n.Host}
	for _, p := range n.Pods() {
		hosts = append(hosts, &p.Host)
	}
	for _, h := range hosts {
		names, err := h.ns.inodes()
		if err != nil {
			return err
		}
		inodes = append(inodes, names[slices.Index(kinds, "net")])
	}
	found, err := residents(inodes)
	if err != nil {
		return err
	}
	var errs []error
	for pid := range found {
		if pid == os.Getpid() {
			continue // a thread of ours that is about to leave
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("killing process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// unplug removes a port of the switch, and with it the cable.
func unplug(root *Host, port string) error {
	return root.Do(func() error {
		link, err := netlink.LinkByName(port)
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			return fmt.Errorf("unplugging %s: %w", port, err)
		}
		return nil
	})
}
