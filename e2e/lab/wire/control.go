package wire

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Control is a frame made to leak, to prove that a capture would see one that does so in earnest.
type Control struct {
	// Form says how it leaks: "ARP IPv4".
	Form  string
	Frame []byte
}

// Controls are frames that leak the address of a pod in every form that Inspect knows, each ended by the mark, by which
// they are known again. They are sent to a hardware address that nobody has, so that nobody answers.
func Controls(source net.HardwareAddr, pod netip.Addr, mark []byte) ([]Control, error) {
	outer := net.HardwareAddr{0x02, 0, 0, 0, 0xc0, 0x01}
	build := forms6
	if pod.Is4() {
		build = forms4
	}
	var controls []Control
	for _, f := range build(source, pod.AsSlice()) {
		link := &layers.Ethernet{SrcMAC: source, DstMAC: outer, EthernetType: f.etherType}
		buffer := gopacket.NewSerializeBuffer()
		options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
		if err := gopacket.SerializeLayers(buffer, options, append([]gopacket.SerializableLayer{link}, f.layers...)...); err != nil {
			return nil, fmt.Errorf("building a control frame (%s): %w", f.name, err)
		}
		frame := append(buffer.Bytes(), mark...)
		controls = append(controls, Control{Form: f.name, Frame: frame})
	}
	return controls, nil
}

type form struct {
	name      string
	etherType layers.EthernetType
	layers    []gopacket.SerializableLayer
}

// Addresses that are no pod's, for the rest of a control (RFC 5737, RFC 3849).
var (
	other4 = net.IPv4(192, 0, 2, 1).To4()
	other6 = net.ParseIP("2001:db8::1")
)

var text = gopacket.Payload("warren lab: this frame is meant to leak")

func forms4(mac net.HardwareAddr, pod net.IP) []form {
	ip := func(source, destination net.IP, protocol layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 64, SrcIP: source, DstIP: destination, Protocol: protocol}
	}
	leak := ip(other4, pod, layers.IPProtocolUDP)
	return []form{
		{"IPv4 source", layers.EthernetTypeIPv4, udp(ip(pod, other4, layers.IPProtocolUDP))},
		{"IPv4 destination", layers.EthernetTypeIPv4, udp(leak)},
		{"ICMP error", layers.EthernetTypeIPv4, append([]gopacket.SerializableLayer{
			ip(other4, other4, layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort)},
		}, udp(leak)...)},
		{"ARP", layers.EthernetTypeARP, []gopacket.SerializableLayer{&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, Operation: layers.ARPRequest,
			SourceHwAddress: mac, SourceProtAddress: other4, DstHwAddress: make([]byte, 6), DstProtAddress: pod,
		}}},
		{"IP in IP", layers.EthernetTypeIPv4, append([]gopacket.SerializableLayer{ip(other4, other4, layers.IPProtocolIPv4)}, udp(leak)...)},
		{"GRE", layers.EthernetTypeIPv4, append([]gopacket.SerializableLayer{
			ip(other4, other4, layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeIPv4},
		}, udp(leak)...)},
		{"VXLAN", layers.EthernetTypeIPv4, vxlan(ip(other4, other4, layers.IPProtocolUDP), layers.EthernetTypeIPv4, udp(leak))},
	}
}

func forms6(_ net.HardwareAddr, pod net.IP) []form {
	ip := func(source, destination net.IP, protocol layers.IPProtocol) *layers.IPv6 {
		return &layers.IPv6{Version: 6, HopLimit: 255, SrcIP: source, DstIP: destination, NextHeader: protocol}
	}
	icmp := func(typ uint8) []gopacket.SerializableLayer {
		outer := ip(other6, other6, layers.IPProtocolICMPv6)
		header := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, 0)}
		_ = header.SetNetworkLayerForChecksum(outer) // fails for what is no network layer only
		return []gopacket.SerializableLayer{outer, header}
	}
	leak := ip(other6, pod, layers.IPProtocolUDP)
	return []form{
		{"IPv6 source", layers.EthernetTypeIPv6, udp(ip(pod, other6, layers.IPProtocolUDP))},
		{"IPv6 destination", layers.EthernetTypeIPv6, udp(leak)},
		{"ICMPv6 error", layers.EthernetTypeIPv6, append(append(icmp(layers.ICMPv6TypeDestinationUnreachable), gopacket.Payload{0, 0, 0, 0}), udp(leak)...)},
		{"neighbour discovery", layers.EthernetTypeIPv6, append(icmp(layers.ICMPv6TypeNeighborSolicitation), &layers.ICMPv6NeighborSolicitation{TargetAddress: pod})},
		{"IP in IP", layers.EthernetTypeIPv6, append([]gopacket.SerializableLayer{ip(other6, other6, layers.IPProtocolIPv6)}, udp(leak)...)},
		{"VXLAN", layers.EthernetTypeIPv6, vxlan(ip(other6, other6, layers.IPProtocolUDP), layers.EthernetTypeIPv6, udp(leak))},
	}
}

// discard is a port at which nothing listens (RFC 863).
const discard = 9

func udp(network gopacket.NetworkLayer) []gopacket.SerializableLayer {
	header := &layers.UDP{SrcPort: discard, DstPort: discard}
	_ = header.SetNetworkLayerForChecksum(network) // fails for what is no network layer only
	return []gopacket.SerializableLayer{network.(gopacket.SerializableLayer), header, text}
}

func vxlan(outer gopacket.NetworkLayer, etherType layers.EthernetType, inner []gopacket.SerializableLayer) []gopacket.SerializableLayer {
	const port = 4789
	header := &layers.UDP{SrcPort: port, DstPort: port}
	_ = header.SetNetworkLayerForChecksum(outer) // fails for what is no network layer only
	mac := net.HardwareAddr{0x02, 0, 0, 0, 0, 1}
	return append([]gopacket.SerializableLayer{
		outer.(gopacket.SerializableLayer), header, &layers.VXLAN{ValidIDFlag: true, VNI: 1},
		&layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: etherType},
	}, inner...)
}
