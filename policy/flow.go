package policy

import (
	"net/netip"
)

// Flow is a connection that conntrack knows, as rules see it: after DNAT, in the direction in which it was opened. Ports are zero where the
// protocol has none.
type Flow struct {
	Protocol Protocol
	From, To netip.AddrPort
}

// Ported says whether the flow's protocol has ports.
func (f Flow) Ported() bool { return f.Protocol == TCP || f.Protocol == UDP || f.Protocol == SCTP }

// Packet is what opens the flow.
func (f Flow) Packet() Packet {
	return Packet{From: f.From.Addr(), To: f.To.Addr(), Protocol: f.Protocol, Port: f.To.Port()}
}
