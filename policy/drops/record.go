// Package drops tells of packets that policy dropped, as the kernel's log group does: of some of each rule's in a second, not of all.
//
// The types of github.com/florianl/go-nflog stop here.
package drops

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/warren-mesh/warren/policy"
)

// Record is one packet that was dropped.
type Record struct {
	Time time.Time
	// From and To are what the packet had after DNAT. Ports are zero where the protocol has none.
	From, To netip.AddrPort
	Protocol policy.Protocol
	// In and Out are the interfaces that it came by and would have left by; Out is empty where it was for the node.
	In, Out string
	// Direction is the side of the pod that did not let it pass, and Interface the host's end of that pod's link.
	Direction policy.Direction
	Interface string
	// Reason says why, and Rule by which rule where it was one.
	Reason Reason
	Rule   policy.RuleID
	// Missed is how many packets the kernel would have told of since the last record, and lost.
	Missed uint32
}

// Reason is why a packet was dropped.
type Reason string

// The reasons.
const (
	// ByRule is a rule that denies.
	ByRule Reason = "rule"
	// NotBound is a pod whose rules are not in the kernel yet.
	NotBound Reason = "not bound"
	// ByRevocation is a flow that policy has come to forbid.
	ByRevocation Reason = "revoked"
	// BySource is an address that is not the pod's who sent it.
	BySource Reason = "spoofed source"
	// ByPast is a rule that has gone since.
	ByPast Reason = "past rule"
)

// errShort says that there is less of a packet than its headers.
var errShort = errors.New("the packet's headers are not whole")

// headers are what a packet says of itself.
type headers struct {
	from, to netip.AddrPort
	protocol policy.Protocol
}

// parse reads a packet from its IP header on.
func parse(packet []byte) (headers, error) {
	if len(packet) == 0 {
		return headers{}, errShort
	}
	var h headers
	var from, to netip.Addr
	var rest []byte
	switch version := packet[0] >> 4; version {
	case ipv4.Version:
		ip, err := ipv4.ParseHeader(packet)
		if err != nil || len(packet) < ip.Len {
			return headers{}, errShort
		}
		from, _ = netip.AddrFromSlice(ip.Src.To4())
		to, _ = netip.AddrFromSlice(ip.Dst.To4())
		h.protocol, rest = policy.Protocol(ip.Protocol), packet[ip.Len:] //nolint:gosec // a byte
	case ipv6.Version:
		ip, err := ipv6.ParseHeader(packet)
		if err != nil {
			return headers{}, errShort
		}
		from, _ = netip.AddrFromSlice(ip.Src)
		to, _ = netip.AddrFromSlice(ip.Dst)
		h.protocol, rest = policy.Protocol(ip.NextHeader), packet[ipv6.HeaderLen:] //nolint:gosec // a byte
	default:
		return headers{}, fmt.Errorf("IP version %d: want 4 or 6", version)
	}
	var ports [2]uint16
	const portsLen = 4
	if (policy.Flow{Protocol: h.protocol}).Ported() && len(rest) >= portsLen {
		ports = [2]uint16{binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])}
	}
	h.from, h.to = netip.AddrPortFrom(from, ports[0]), netip.AddrPortFrom(to, ports[1])
	return h, nil
}
