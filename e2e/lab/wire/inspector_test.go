package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var (
	inspector = Inspector{
		Pods:  []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")},
		Ports: []uint16{51820},
	}
	mac  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	pod4 = netip.MustParseAddr("10.244.1.2")
	pod6 = netip.MustParseAddr("fd00:10:244:1::2")
)

func TestControlsAreFound(t *testing.T) {
	want := map[string]string{
		"4 IPv4 source":         "10.244.1.2 in IPv4 source",
		"4 IPv4 destination":    "10.244.1.2 in IPv4 destination",
		"4 ICMP error":          "10.244.1.2 in ICMP error: IPv4 destination",
		"4 ARP":                 "10.244.1.2 in ARP: target",
		"4 IP in IP":            "10.244.1.2 in IP in IP: IPv4 destination",
		"4 GRE":                 "10.244.1.2 in GRE: IPv4 destination",
		"4 VXLAN":               "10.244.1.2 in UDP payload: a header within: IPv4 destination",
		"6 IPv6 source":         "fd00:10:244:1::2 in IPv6 source",
		"6 IPv6 destination":    "fd00:10:244:1::2 in IPv6 destination",
		"6 ICMPv6 error":        "fd00:10:244:1::2 in ICMPv6 error: IPv6 destination",
		"6 neighbour discovery": "fd00:10:244:1::2 in neighbour discovery: target",
		"6 IP in IP":            "fd00:10:244:1::2 in IP in IP: IPv6 destination",
		"6 VXLAN":               "fd00:10:244:1::2 in UDP payload: a header within: IPv6 destination",
	}
	got := map[string]string{}
	mark := []byte("0123456789abcdef")
	for family, pod := range map[string]netip.Addr{"4": pod4, "6": pod6} {
		controls, err := Controls(mac, pod, mark)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range controls {
			var all []string
			for _, f := range inspector.Inspect(c.Frame).Findings {
				all = append(all, f.String())
			}
			got[family+" "+c.Form] = strings.Join(all, "; ")
			if !bytes.HasSuffix(c.Frame, mark) {
				t.Errorf("%s: the mark is not at its end", c.Form)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestTagsDoNotHide(t *testing.T) {
	frame := build(t, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeDot1Q},
		&layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 1, SrcIP: pod4.AsSlice(), DstIP: other4, Protocol: layers.IPProtocolTCP})
	if got := inspector.Inspect(frame).Findings; len(got) != 1 {
		t.Errorf("findings = %v, want one", got)
	}
}

func TestExtensionHeadersDoNotHide(t *testing.T) {
	inner := build(t, &layers.IPv4{Version: 4, TTL: 1, SrcIP: pod4.AsSlice(), DstIP: other4, Protocol: layers.IPProtocolTCP})
	extension := append([]byte{protoIPIP, 0, 1, 4, 0, 0, 0, 0}, inner...)
	frame := build(t, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeIPv6},
		&layers.IPv6{Version: 6, HopLimit: 1, SrcIP: other6, DstIP: other6, NextHeader: protoDestination},
		gopacket.Payload(extension))
	got := inspector.Inspect(frame).Findings
	want := []Finding{{Address: pod4, Where: "IP in IP: IPv4 source"}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestWireGuard(t *testing.T) {
	message := func(typ byte, size int) []byte {
		p := make([]byte, size)
		if size > 0 {
			p[0] = typ
		}
		return p
	}
	for name, c := range map[string]struct {
		payload []byte
		port    layers.UDPPort
		want    Message
	}{
		"initiation":             {message(1, 148), 51820, Initiation},
		"response":               {message(2, 92), 51820, Response},
		"cookie":                 {message(3, 64), 51820, Cookie},
		"keepalive":              {message(4, 32), 51820, Data},
		"data":                   {message(4, 32+128), 51820, Data},
		"data that fills an MTU": {message(4, 32+1420), 51820, Data},
		"initiation too short":   {message(1, 147), 51820, 0},
		"data out of step":       {message(4, 32+100), 51820, 0},
		"data too short":         {message(4, 16), 51820, 0},
		"no type":                {message(5, 148), 51820, 0},
		"reserved bytes set":     {append([]byte{4, 1, 0, 0}, make([]byte, 28)...), 51820, 0},
		"empty":                  {nil, 51820, 0},
		"another port":           {message(4, 32), 4789, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := inspector.Inspect(datagram(t, other4, c.port, c.payload))
			if got.WireGuard != c.want || len(got.Findings) != 0 {
				t.Errorf("got %v, findings %v; want %v and none", got.WireGuard, got.Findings, c.want)
			}
		})
	}
}

// The header around a message is in clear, and a clear packet at the lane's port is no message.
func TestWireGuardIsNoExcuse(t *testing.T) {
	outer := inspector.Inspect(datagram(t, pod4.AsSlice(), 51820, append([]byte{4, 0, 0, 0}, make([]byte, 28)...)))
	if outer.WireGuard != Data || len(outer.Findings) != 1 {
		t.Errorf("a message from a pod's address: %+v, want data and one finding", outer)
	}
	plain := build(t, &layers.IPv4{Version: 4, TTL: 1, SrcIP: pod4.AsSlice(), DstIP: pod4.AsSlice(), Protocol: layers.IPProtocolTCP})
	inner := inspector.Inspect(datagram(t, other4, 51820, plain))
	if inner.WireGuard != 0 || len(inner.Findings) != 2 {
		t.Errorf("a clear packet at the lane's port: %+v, want no message and two findings", inner)
	}
}

// What is random, as ciphertext and TLS are, must not be taken for a leak; and no frame must make the reader fail.
func TestRandomFrames(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 20000 {
		payload := make([]byte, random.IntN(1500))
		for i := range payload {
			payload[i] = byte(random.Uint32())
		}
		frame := datagram(t, other4, 443, payload)
		if got := inspector.Inspect(frame).Findings; len(got) != 0 {
			t.Fatalf("frame %d: findings %v in random bytes", n, got)
		}
		inspector.Inspect(payload)
		inspector.Line(payload)
	}
}

func TestLine(t *testing.T) {
	for want, frame := range map[string][]byte{
		"IP 192.0.2.1.51820 > 192.0.2.1.51820: WireGuard handshake initiation, length 148":    datagram(t, other4, 51820, append([]byte{1}, make([]byte, 147)...)),
		"IP 10.244.1.2.53 > 192.0.2.1.53: UDP, length 2  <-- LEAK: 10.244.1.2 in IPv4 source": datagram(t, pod4.AsSlice(), 53, []byte("hi")),
	} {
		if got := inspector.Line(frame); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func FuzzInspect(f *testing.F) {
	for _, pod := range []netip.Addr{pod4, pod6} {
		controls, err := Controls(mac, pod, binary.BigEndian.AppendUint64(nil, 1))
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range controls {
			f.Add(c.Frame)
		}
	}
	f.Fuzz(func(_ *testing.T, frame []byte) {
		inspector.Inspect(frame)
		inspector.Line(frame)
	})
}

func datagram(t *testing.T, source net.IP, port layers.UDPPort, payload []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, SrcIP: source, DstIP: other4, Protocol: layers.IPProtocolUDP}
	header := &layers.UDP{SrcPort: port, DstPort: port}
	if err := header.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	return build(t, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4}, ip, header, gopacket.Payload(payload))
}

func build(t *testing.T, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}
