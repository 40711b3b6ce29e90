package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/ipam"
)

// HostLocalDir is where the host-local plugin keeps its leases: a folder for each network, in it a file for each address.
const HostLocalDir = "/var/lib/cni/networks"

// maxHostLocal is more than such a file has, in bytes: a container's ID, a line end and an interface's name.
const maxHostLocal = 4096

// HostLocal reads the leases of host-local, so that nothing that they say is in use is handed out.
func HostLocal(dir string) ([]ipam.Lease, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		return nil, fmt.Errorf("finding the leases of host-local: %w", err)
	}
	leases := map[ipam.Key]*ipam.Lease{}
	var order []ipam.Key
	seen := map[netip.Addr]bool{}
	for _, file := range files {
		a, k, err := hostLocal(file)
		if err != nil {
			return nil, fmt.Errorf("reading a lease of host-local: %w", err)
		}
		if !a.IsValid() || seen[a] {
			continue
		}
		seen[a] = true
		folder := filepath.Dir(file)
		l, ok := leases[k]
		if !ok {
			l = &ipam.Lease{Request: ipam.Request{Key: k, Network: filepath.Base(folder)}, Since: time.Now(), HostLocal: folder}
			leases[k] = l
			order = append(order, k)
		}
		l.Addresses = append(l.Addresses, a)
	}
	all := make([]ipam.Lease, 0, len(order))
	for _, k := range order {
		all = append(all, *leases[k])
	}
	return all, nil
}

// hostLocal reads one file, whose name is an address. Others, such as last_reserved_ip.0 and lock, give none.
func hostLocal(file string) (netip.Addr, ipam.Key, error) {
	a, err := netip.ParseAddr(strings.ReplaceAll(filepath.Base(file), "_", ":"))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, ipam.Key{}, nil //nolint:nilerr // the name is no address: not a lease
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return netip.Addr{}, ipam.Key{}, nil
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxHostLocal {
		return netip.Addr{}, ipam.Key{}, errors.Join(err, fmt.Errorf("%s is no lease", file))
	}
	text, err := os.ReadFile(file) //nolint:gosec // root's own
	if err != nil {
		return netip.Addr{}, ipam.Key{}, err
	}
	// Those of host-local before 0.7 have no second line.
	id, iface, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return a, ipam.Key{ContainerID: strings.TrimSpace(id), Interface: strings.TrimSpace(iface)}, nil
}

// HeldHostLocal says whether host-local still has an address of the lease for its container, or may have.
func HeldHostLocal(l ipam.Lease) bool {
	return slices.ContainsFunc(l.Addresses, func(a netip.Addr) bool {
		held, k, err := hostLocal(filepath.Join(l.HostLocal, a.String()))
		return err != nil || held == a && k == l.Key
	})
}

// RemoveHostLocal does of host-local's DEL what the lease needs: it takes away the files by which its addresses are the container's.
func RemoveHostLocal(l ipam.Lease) error {
	var errs []error
	for _, a := range l.Addresses {
		file := filepath.Join(l.HostLocal, a.String())
		held, k, err := hostLocal(file)
		if err == nil && held == a && k == l.Key {
			err = os.Remove(file)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing a lease of host-local: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Import adds leases of another, where neither their key nor an address of theirs is known.
func (s *Store) Import(leases []ipam.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range leases {
		taken := func(other ipam.Lease) bool {
			return slices.ContainsFunc(other.Addresses, func(a netip.Addr) bool { return slices.Contains(l.Addresses, a) })
		}
		if _, known := s.table.Lease(l.Key); known || s.table.Any(taken) {
			continue
		}
		if err := s.append(record{Grant: &l}); err != nil {
			return err
		}
		if err := s.table.Grant(l); err != nil {
			return err
		}
	}
	return nil
}
