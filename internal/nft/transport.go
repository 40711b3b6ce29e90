package nft

import (
	"encoding/binary"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// Protocol is `meta l4proto tcp`.
func Protocol(number uint8) Part { return Part{meta(expr.MetaKeyL4PROTO), equals(number)} }

// NotProtocol is `meta l4proto != tcp`.
func NotProtocol(number uint8) Part {
	return Part{meta(expr.MetaKeyL4PROTO), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: []byte{number}}}
}

// Ports is `tcp dport 80` or `tcp dport 80-90`, of the protocols that have ports.
func Ports(protocol uint8, first, last uint16) Part {
	out := append(Protocol(protocol),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: portSize})
	a, b := binary.BigEndian.AppendUint16(nil, first), binary.BigEndian.AppendUint16(nil, last)
	if first == last {
		return append(out, equals(a...))
	}
	return append(out, between(a, b)...)
}

// NeighbourDiscovery is `icmpv6 type nd-router-solicit-nd-redirect`, without which IPv6 has no neighbours.
func NeighbourDiscovery() Part {
	const solicit, redirect = 133, 137
	out := append(ICMPv6(), &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Len: 1})
	return append(out, between([]byte{solicit}, []byte{redirect})...)
}

func between(first, last []byte) Part {
	return Part{
		&expr.Cmp{Op: expr.CmpOpGte, Register: reg, Data: first},
		&expr.Cmp{Op: expr.CmpOpLte, Register: reg, Data: last},
	}
}

// Established is `ct state established,related`: the packet belongs to a flow that was let through, or is an error about one.
func Established() Part {
	bits := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return Part{
		&expr.Ct{Register: reg, Key: expr.CtKeySTATE},
		mask(bits),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, len(bits))},
	}
}

// IIFNameMap is `iifname vmap @name`: what the map holds for the interface that the packet came in by.
func IIFNameMap(name string) Part { return verdictMap(expr.MetaKeyIIFNAME, name) }

// OIFNameMap is `oifname vmap @name`: the same for the one that it leaves by.
func OIFNameMap(name string) Part { return verdictMap(expr.MetaKeyOIFNAME, name) }

func verdictMap(key expr.MetaKey, name string) Part {
	const verdictRegister = 0 // NFT_REG_VERDICT
	return Part{meta(key), &expr.Lookup{SourceRegister: reg, SetName: name, DestRegister: verdictRegister, IsDestRegSet: true}}
}
