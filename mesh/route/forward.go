package route

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warren-mesh/warren/internal/sysctl"
	"github.com/warren-mesh/warren/mesh"
)

const (
	forward4 = "/proc/sys/net/ipv4/ip_forward"
	conf6    = "/proc/sys/net/ipv6/conf"
)

// EnableForwarding makes the node forward packets of these families. It writes nothing where that is so already.
//
// A node that forwards IPv6 ignores router advertisements where accept_ra is 1, and drops the default route that it learnt
// from one. So the interfaces that heed them now, and only those, get accept_ra 2 before.
func (r *Router) EnableForwarding(ipv4, ipv6 bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	if ipv4 {
		errs = append(errs, r.enable(forward4, func() error { return nil }))
	}
	if ipv6 {
		errs = append(errs, r.enable(filepath.Join(conf6, "all/forwarding"), keepRouterAdvertisements))
	}
	return errors.Join(errs...)
}

// enable sets a sysctl to 1 where it is not, after what has to come before.
func (r *Router) enable(path string, before func() error) error {
	if value, err := readSysctl(path); err != nil || value == "1" {
		return err
	}
	if err := before(); err != nil {
		return err
	}
	r.onMessage(1)
	return setSysctl(path, "1")
}

// keepRouterAdvertisements passes over "all" and "default": a link to come may be a container's, and what that advertises must
// not be believed.
func keepRouterAdvertisements() error {
	interfaces, err := os.ReadDir(conf6)
	if err != nil {
		return fmt.Errorf("listing interfaces' sysctls: %w", err)
	}
	var errs []error
	for _, i := range interfaces {
		name := i.Name()
		if name == "all" || name == "default" || name == "lo" || strings.HasPrefix(name, mesh.PodLinkPrefix) {
			continue
		}
		acceptRA := filepath.Join(conf6, name, "accept_ra")
		accepts, err := readSysctl(acceptRA)
		forwards, err2 := readSysctl(filepath.Join(conf6, name, "forwarding"))
		if err = errors.Join(err, err2); err == nil && accepts == "1" && forwards == "0" {
			err = setSysctl(acceptRA, "2")
		}
		if !errors.Is(err, fs.ErrNotExist) { // a link that has just gone
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func readSysctl(path string) (string, error) {
	data, err := os.ReadFile(path) // #nosec G304 -- below /proc/sys
	if err != nil {
		return "", fmt.Errorf("reading sysctl: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func setSysctl(path, value string) error {
	if err := sysctl.Write(path, value); err != nil {
		return fmt.Errorf("setting sysctl to %s: %w", value, err)
	}
	return nil
}
