package nft

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"github.com/warren-mesh/warren/policy"
)

// datagram is the first packet of a connection from a port that nothing else comes from, or, with reply, what the other end answers.
type datagram struct {
	policy.Packet
	id    uint16
	reply bool
}

// ipv4 and ipv6 are the types of Ethernet's frames.
const (
	ipv4 = 0x0800
	ipv6 = 0x86dd
)

// ends are where the datagram comes from and goes to.
func (d datagram) ends() (from, to netip.Addr) {
	if d.reply {
		return d.To, d.From
	}
	return d.From, d.To
}

// payload is what IP carries. No two IDs have the same.
func (d datagram) payload() []byte {
	ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, d.id), d.Port)
	if d.reply {
		ports = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, d.Port), d.id)
	}
	tag := uint32(d.id) + 1
	switch d.Protocol {
	case policy.TCP:
		const syn, ack = 0x02, 0x12
		flags, number, acknowledged := byte(syn), tag, uint32(0)
		if d.reply {
			flags, number, acknowledged = ack, 7, tag+1
		}
		b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(ports, number), acknowledged)
		return d.checked(append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0), 16)
	case policy.UDP:
		return d.checked(append(ports, 0, 8, 0, 0), 6)
	case policy.SCTP:
		const initiate = 1
		chunk, verification := byte(initiate), uint32(0)
		if d.reply {
			chunk, verification = initiate+1, tag
		}
		b := append(binary.BigEndian.AppendUint32(ports, verification), 0, 0, 0, 0, chunk, 0, 0, 20)
		b = append(binary.BigEndian.AppendUint32(b, tag), 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1)
		binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		return b
	case policy.ICMP, policy.ICMPv6:
		kind := map[policy.Protocol][2]byte{policy.ICMP: {8, 0}, policy.ICMPv6: {128, 129}}[d.Protocol]
		b := append(binary.BigEndian.AppendUint16([]byte{kind[0], 0, 0, 0}, d.id), 0, 1)
		if d.reply {
			b[0] = kind[1]
		}
		return d.checked(b, 2)
	}
	return binary.BigEndian.AppendUint32([]byte{0, 0, 8, 0}, tag) // GRE
}

// checked puts the Internet's checksum into a payload, and what of the header it is about.
func (d datagram) checked(b []byte, at int) []byte {
	var pseudo []byte
	if d.Protocol != policy.ICMP {
		from, to := d.ends()
		pseudo = append(append(pseudo, from.AsSlice()...), to.AsSlice()...)
		pseudo = append(binary.BigEndian.AppendUint32(pseudo, uint32(len(b))), 0, 0, 0, byte(d.Protocol))
	}
	binary.BigEndian.PutUint16(b[at:], checksum(append(pseudo, b...)))
	return b
}

func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// packet is the payload behind a header of IP, and the type of its frame.
func (d datagram) packet() (packet []byte, kind uint16) {
	const hops = 64
	from, to := d.ends()
	payload := d.payload()
	if from.Is6() {
		b := binary.BigEndian.AppendUint16([]byte{6 << 4, 0, 0, 0}, uint16(len(payload)))
		b = append(append(append(b, byte(d.Protocol), hops), from.AsSlice()...), to.AsSlice()...)
		return append(b, payload...), ipv6
	}
	b := binary.BigEndian.AppendUint16([]byte{4<<4 | 5, 0}, uint16(20+len(payload)))
	b = append(append(append(b, 0, 0, 0, 0, hops, byte(d.Protocol), 0, 0), from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, payload...), ipv4
}

// payloadOf is what a packet carries.
func payloadOf(packet []byte) []byte {
	switch {
	case len(packet) > 40 && packet[0]>>4 == 6:
		return packet[40:]
	case len(packet) > 20 && packet[0]>>4 == 4:
		return packet[20:]
	}
	return nil
}
