package wire

import "encoding/binary"

// Message is the type of a WireGuard message, as on the wire.
type Message byte

// The messages of the protocol (https://www.wireguard.com/papers/wireguard.pdf, section 5.4).
const (
	Initiation Message = 1
	Response   Message = 2
	Cookie     Message = 3
	Data       Message = 4
)

func (m Message) String() string {
	switch m {
	case Initiation:
		return "handshake initiation"
	case Response:
		return "handshake response"
	case Cookie:
		return "cookie reply"
	case Data:
		return "data"
	}
	return "no message"
}

const (
	initiationSize = 148
	responseSize   = 92
	cookieSize     = 64
	// dataOverhead is a data message's header and authentication tag.
	dataOverhead = 32
	// dataAlign is what the packet inside is padded to,
	dataAlign = 16
	// unalignedSize is from where on it need not be: the padding ends at the device's MTU, and no device of ours has a
	// smaller one.
	unalignedSize = 1280
)

// ParseMessage says which WireGuard message a UDP payload is, or 0 where it is none: type, reserved bytes and length
// must all be right.
func ParseMessage(payload []byte) Message {
	if len(payload) < 4 || payload[1]|payload[2]|payload[3] != 0 {
		return 0
	}
	switch m := Message(payload[0]); m {
	case Initiation:
		return sized(m, payload, initiationSize)
	case Response:
		return sized(m, payload, responseSize)
	case Cookie:
		return sized(m, payload, cookieSize)
	case Data:
		inner := len(payload) - dataOverhead
		if inner >= 0 && (inner%dataAlign == 0 || inner >= unalignedSize) {
			return m
		}
	}
	return 0
}

func sized(m Message, payload []byte, size int) Message {
	if len(payload) != size {
		return 0
	}
	return m
}

// udp reads a datagram. Only one that is not itself inside something counts as WireGuard.
func (r *reader) udp(p []byte, where string, depth int) {
	const header = 8
	if len(p) < header {
		return
	}
	source, destination := binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
	payload := p[header:]
	if n := int(binary.BigEndian.Uint16(p[4:])); n >= header && n < len(p) {
		payload = p[header:n]
	}
	if where == "" && (r.isLane(source) || r.isLane(destination)) {
		if m := ParseMessage(payload); m != 0 {
			r.WireGuard = m
			return
		}
	}
	r.scan(payload, join(where, "UDP payload"), depth)
}

func (r *reader) isLane(port uint16) bool {
	for _, p := range r.Ports {
		if p == port {
			return true
		}
	}
	return false
}
