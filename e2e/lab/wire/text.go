package wire

import (
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Line is a frame on one line, much as tcpdump would put it, with what leaks from it at the end.
func (i Inspector) Line(frame []byte) string {
	r := i.Inspect(frame)
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	var b strings.Builder
	b.WriteString(summary(packet, r.WireGuard))
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  <-- LEAK: %s", f)
	}
	return b.String()
}

func summary(packet gopacket.Packet, message Message) string {
	switch network := packet.NetworkLayer().(type) {
	case *layers.IPv4:
		ends := ends{network.SrcIP, network.DstIP}
		return "IP " + ends.text(packet, fmt.Sprintf("%s, length %d", network.Protocol, network.Length), message)
	case *layers.IPv6:
		ends := ends{network.SrcIP, network.DstIP}
		return "IP6 " + ends.text(packet, fmt.Sprintf("%s, length %d", network.NextHeader, network.Length), message)
	}
	if arp, ok := packet.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		return arpText(arp)
	}
	if link, ok := packet.LinkLayer().(*layers.Ethernet); ok {
		return fmt.Sprintf("%s > %s, %s, length %d", link.SrcMAC, link.DstMAC, link.EthernetType, len(link.Payload))
	}
	return "malformed frame " + hex.EncodeToString(packet.Data()[:min(16, len(packet.Data()))])
}

// ends are a packet's source and destination.
type ends struct{ source, destination net.IP }

// text is what is between the two; other says what it is where nothing here knows more.
func (e ends) text(packet gopacket.Packet, other string, message Message) string {
	switch t := packet.TransportLayer().(type) {
	case *layers.UDP:
		what := "UDP"
		if message != 0 {
			what = "WireGuard " + message.String()
		}
		return fmt.Sprintf("%s.%d > %s.%d: %s, length %d", e.source, t.SrcPort, e.destination, t.DstPort, what, len(t.Payload))
	case *layers.TCP:
		return fmt.Sprintf("%s.%d > %s.%d: TCP [%s], length %d", e.source, t.SrcPort, e.destination, t.DstPort, tcpFlags(t), len(t.Payload))
	}
	if icmp, ok := packet.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		other = "ICMP " + icmp.TypeCode.String()
	}
	if icmp, ok := packet.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
		other = "ICMPv6 " + icmp.TypeCode.String()
	}
	return fmt.Sprintf("%s > %s: %s", e.source, e.destination, other)
}

func tcpFlags(t *layers.TCP) string {
	var b strings.Builder
	for _, f := range []struct {
		set  bool
		name string
	}{{t.SYN, "S"}, {t.FIN, "F"}, {t.RST, "R"}, {t.PSH, "P"}, {t.ACK, "."}} {
		if f.set {
			b.WriteString(f.name)
		}
	}
	return b.String()
}

func arpText(arp *layers.ARP) string {
	sender, target := dotted(arp.SourceProtAddress), dotted(arp.DstProtAddress)
	if arp.Operation == layers.ARPRequest {
		return fmt.Sprintf("ARP, Request who-has %s tell %s", target, sender)
	}
	return "ARP, Reply " + sender
}

func dotted(raw []byte) string {
	parts := make([]string, len(raw))
	for i, b := range raw {
		parts[i] = strconv.Itoa(int(b))
	}
	return strings.Join(parts, ".")
}
