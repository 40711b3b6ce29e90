package wire

import (
	"fmt"
	"net/netip"
	"slices"
)

// Inspector knows what is to be looked for.
type Inspector struct {
	// Pods are the cluster's pod CIDRs: no address of theirs may be seen outside WireGuard.
	Pods []netip.Prefix
	// Ports are the UDP ports of the lanes.
	Ports []uint16
}

// Result is what one frame shows.
type Result struct {
	// WireGuard is the message that the frame carries, or 0.
	WireGuard Message
	// Findings are the pod addresses that the frame carries in clear, in the order of their place in it. A WireGuard
	// message is no excuse for the headers around it.
	Findings []Finding
}

// Finding is one pod address in clear.
type Finding struct {
	Address netip.Addr
	// Where says in which field it stands, from the outside in: "ICMP error: IPv4 source".
	Where string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s in %s", f.Address, f.Where)
}

// Inspect reads one Ethernet frame, without its checksum.
func (i Inspector) Inspect(frame []byte) Result {
	r := reader{Inspector: i}
	r.ethernet(frame, "", 0)
	return r.Result
}

// maxDepth is how many headers may be nested before the rest is only scanned: a frame must not be able to exhaust us.
const maxDepth = 16

// reader is one inspection under way.
type reader struct {
	Inspector
	Result
}

// address notes a pod's address.
func (r *reader) address(raw []byte, where string) {
	addr, ok := netip.AddrFromSlice(raw)
	if !ok {
		return
	}
	addr = addr.Unmap()
	if r.isPod(addr) {
		r.Findings = append(r.Findings, Finding{Address: addr, Where: where})
	}
}

func (r *reader) isPod(addr netip.Addr) bool {
	return slices.ContainsFunc(r.Pods, func(p netip.Prefix) bool { return p.Contains(addr) })
}
