// Package podnet wires pods: a veth between a pod's network namespace and the host's, with addresses, routes and
// neighbours on both ends, such that the first packet passes as soon as Attach has returned. The types of netlink stop here.
package podnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/warren-mesh/warren/mesh"
)

// The least MTU, in bytes, with which the kernel has an address of a family (RFC 791, RFC 8200).
const (
	minMTU4 = 68
	minMTU6 = 1280
	maxMTU  = 65535
)

// maxAlias is the longest alias of a link, in bytes (IFALIASZ less the final zero).
const maxAlias = 255

// The pod's gateways. They are the same in every pod: each sees only its own link. fe80::1 is the host end's only IPv6 address,
// so that the node has a source for ICMPv6 errors to the pod even where it has no IPv6 address of its own. For IPv4 the
// kernel takes the address of another link then, and 169.254.1.1 needs to be nobody's.
var (
	gateway4 = netip.AddrFrom4([4]byte{169, 254, 1, 1})
	gateway6 = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1})
)

// Gateway is the pod's gateway for what comes from an address.
func Gateway(a netip.Addr) netip.Addr {
	if a.Is4() {
		return gateway4
	}
	return gateway6
}

// Spec says which pod gets what.
type Spec struct {
	// NetNS is the path of the pod's network namespace.
	NetNS string
	// Interface is the name of the pod's end, such as eth0.
	Interface string
	// Namespace and Name are the pod's in Kubernetes.
	Namespace, Name string
	// Addresses are the pod's: of either family, or of both.
	Addresses []netip.Addr
	// MAC is the hardware address of the pod's end; nil for one that follows from the pod's name.
	MAC net.HardwareAddr
	// MTU is that of both ends, in bytes.
	MTU int
	// OnStep, where it is set, is told before each step that changes something: tests break off there.
	OnStep func(step string)
}

func (s Spec) step(name string) {
	if s.OnStep != nil {
		s.OnStep(name)
	}
}

// Result says what was made.
type Result struct {
	// HostLink is the name of the host's end.
	HostLink string
	// HostMAC and PodMAC are the two ends' hardware addresses.
	HostMAC, PodMAC net.HardwareAddr
}

// HostLink is the name of the host's end for an interface of a pod. It is always the same, and 15 characters long, the most there is.
func HostLink(namespace, name, iface string) string {
	sum := digest(namespace, name, iface, "link")
	return mesh.PodLinkPrefix + hex.EncodeToString(sum[:6])
}

// Result is known beforehand: all names are made from the pod's.
func (s Spec) Result() Result {
	r := Result{
		HostLink: HostLink(s.Namespace, s.Name, s.Interface),
		HostMAC:  hardwareAddr(s.Namespace, s.Name, s.Interface, "host"),
		PodMAC:   hardwareAddr(s.Namespace, s.Name, s.Interface, "pod"),
	}
	if s.MAC != nil {
		r.PodMAC = s.MAC
	}
	return r
}

// families says which families the pod has addresses of.
func (s Spec) families() (ipv4, ipv6 bool) {
	for _, a := range s.Addresses {
		ipv4, ipv6 = ipv4 || a.Is4(), ipv6 || a.Is6()
	}
	return ipv4, ipv6
}

// of are the addresses of the family of the given one.
func (s Spec) of(like netip.Addr) (same []netip.Addr) {
	for _, a := range s.Addresses {
		if a.Is4() == like.Is4() {
			same = append(same, a)
		}
	}
	return same
}

// validate finds every mistake before anything is touched.
func (s Spec) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.NetNS == "" {
		wrong("network namespace: none given")
	}
	if !validInterface(s.Interface) {
		wrong("interface %q: not the name of a link, like eth0", s.Interface)
	}
	if s.Namespace == "" || s.Name == "" {
		wrong("pod %q: not namespace and name", s.Namespace+"/"+s.Name)
	}
	if mac := s.Result().HostMAC; bytes.Equal(s.MAC, mac) {
		wrong("hardware address %s: it is that of the host's end", mac)
	}
	if len(s.Addresses) == 0 {
		wrong("addresses: none given")
	}
	for _, a := range s.Addresses {
		if !a.IsGlobalUnicast() || a.Is4In6() || a.Zone() != "" {
			wrong("address %s: not a unicast address that a pod may have", a)
		}
	}
	least := minMTU4
	if _, ipv6 := s.families(); ipv6 {
		least = minMTU6
	}
	if s.MTU < least || s.MTU > maxMTU {
		wrong("MTU %d: not between %d and %d", s.MTU, least, maxMTU)
	}
	return errors.Join(errs...)
}

// validInterface is the kernel's dev_valid_name, less what would make trouble in a path.
func validInterface(name string) bool {
	return name != "" && len(name) <= 15 && name != "." && name != ".." && name != "lo" && name != "all" && name != "default" &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ':' || r == '%' })
}

// podAlias is before a pod's namespace and name in an alias.
const podAlias = "pod "

// alias says whose a host's end is.
func alias(namespace, name string) string {
	text := mesh.LinkAlias + podAlias + namespace + "/" + name
	return text[:min(len(text), maxAlias)]
}

// hardwareAddr is unicast and locally administered.
func hardwareAddr(parts ...string) net.HardwareAddr {
	sum := digest(parts...)
	sum[0] = sum[0]&^1 | 2
	return net.HardwareAddr(sum[:6])
}

func digest(parts ...string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(parts, "/")))
}
