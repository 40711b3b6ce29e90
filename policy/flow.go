package policy

import "net/netip"

// Flow is a connection that conntrack knows, as rules see it: after DNAT, in the direction in which it was opened. Ports are zero where the
// protocol has none.
type Flow struct {
	Protocol Protocol
	From, To netip.AddrPort
}

// Ported says whether the flow's protocol has ports.
func (f Flow) Ported() bool { return f.Protocol == TCP || f.Protocol == UDP || f.Protocol == SCTP }

// Back is the flow that the other end would open by the same ports.
func (f Flow) Back() Flow { return Flow{Protocol: f.Protocol, From: f.To, To: f.From} }

// Packet is what opens the flow.
func (f Flow) Packet() Packet {
	return Packet{From: f.From.Addr(), To: f.To.Addr(), Protocol: f.Protocol, Port: f.To.Port()}
}

// Tracked is a flow as conntrack holds it.
type Tracked struct {
	Flow
	// Entry is what conntrack finds it by; it says nothing to anybody else.
	Entry string
}
