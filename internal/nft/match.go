package nft

import (
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ifNameSize is IFNAMSIZ.
const ifNameSize = unix.IFNAMSIZ

// MACSize is the length of a hardware address, in bytes, and paddedMACSize what it takes within a concatenation.
const (
	MACSize       = 6
	paddedMACSize = 8
)

// reg is the one register that is used; each match loads it anew. It takes 16 bytes, and nextReg those that follow in a concatenation.
const (
	reg     = 1
	nextReg = 2
)

func meta(k expr.MetaKey) expr.Any { return &expr.Meta{Key: k, Register: reg} }

func equals(data ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}
}

// name compares an interface's name as iptables-nft does, which then can list the rule: with the closing zero byte, or as a
// prefix where the name ends in "*".
func name(op expr.CmpOp, n string) expr.Any {
	data, wildcard := strings.CutSuffix(n, "*")
	if !wildcard {
		data += "\x00"
	}
	return &expr.Cmp{Op: op, Register: reg, Data: []byte(data)}
}

func lookup(set string, not bool) expr.Any {
	return &expr.Lookup{SourceRegister: reg, SetName: set, Invert: not}
}

// IIFName matches the interface that a packet came in by: `iifname "wrp*"`.
func IIFName(n string) Part { return Part{meta(expr.MetaKeyIIFNAME), name(expr.CmpOpEq, n)} }

// IIFNameNot is `iifname != "lo"`.
func IIFNameNot(n string) Part { return Part{meta(expr.MetaKeyIIFNAME), name(expr.CmpOpNeq, n)} }

// OIFName matches the interface that a packet leaves by: `oifname "wrp*"`.
func OIFName(n string) Part { return Part{meta(expr.MetaKeyOIFNAME), name(expr.CmpOpEq, n)} }

// OIFNameIn is `oifname @set`.
func OIFNameIn(set string) Part { return Part{meta(expr.MetaKeyOIFNAME), lookup(set, false)} }

// IIFNameIn is `iifname @set`.
func IIFNameIn(set string) Part { return Part{meta(expr.MetaKeyIIFNAME), lookup(set, false)} }

// IIFNameNotIn is `iifname != @set`.
func IIFNameNotIn(set string) Part { return Part{meta(expr.MetaKeyIIFNAME), lookup(set, true)} }

// IIFNameMACNotIn is `iifname . ether saddr != @set`, of packets that have hardware addresses.
func IIFNameMACNotIn(set string) Part {
	const saddrOffset = 6
	return Part{
		meta(expr.MetaKeyIIFTYPE), equals(binaryutil.NativeEndian.PutUint16(unix.ARPHRD_ETHER)...),
		meta(expr.MetaKeyIIFNAME),
		&expr.Payload{DestRegister: nextReg, Base: expr.PayloadBaseLLHeader, Offset: saddrOffset, Len: MACSize},
		lookup(set, true),
	}
}

// address loads a packet's source or destination, of packets of that family only.
func address(f Family, destination bool) Part {
	offset, size := uint32(12), uint32(net.IPv4len)
	if f == IPv6 {
		offset, size = 8, net.IPv6len
	}
	if destination {
		offset += size
	}
	return Part{
		meta(expr.MetaKeyNFPROTO), equals(byte(f)),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
	}
}

// SaddrIn is `ip saddr @set` or `ip6 saddr @set`.
func SaddrIn(f Family, set string) Part { return append(address(f, false), lookup(set, false)) }

// SaddrNotIn is `ip saddr != @set`.
func SaddrNotIn(f Family, set string) Part { return append(address(f, false), lookup(set, true)) }

// DaddrIn is `ip daddr @set`.
func DaddrIn(f Family, set string) Part { return append(address(f, true), lookup(set, false)) }

// DaddrNotIn is `ip daddr != @set`.
func DaddrNotIn(f Family, set string) Part { return append(address(f, true), lookup(set, true)) }

// Saddr is `ip6 saddr fe80::/10`.
func Saddr(p netip.Prefix) Part { return inPrefix(p, false) }

// Daddr is `ip daddr 10.244.0.0/16`.
func Daddr(p netip.Prefix) Part { return inPrefix(p, true) }

func inPrefix(p netip.Prefix, destination bool) Part {
	f, bits := IPv6, 8*net.IPv6len
	if p.Addr().Is4() {
		f, bits = IPv4, 8*net.IPv4len
	}
	out := address(f, destination)
	if p.Bits() < bits {
		out = append(out, mask(net.CIDRMask(p.Bits(), bits)))
	}
	return append(out, equals(p.Masked().Addr().AsSlice()...))
}

func mask(m []byte) expr.Any {
	size := uint32(len(m)) //nolint:gosec // of an address at most
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: size, Mask: m, Xor: make([]byte, size)}
}

// ICMPv6 is `meta l4proto ipv6-icmp`.
func ICMPv6() Part { return Protocol(unix.IPPROTO_ICMPV6) }

// SYN is `tcp flags syn / syn,rst`: the two packets that open a TCP connection, which carry its segment sizes.
func SYN() Part {
	const flagsOffset, syn, rst = 13, 0x02, 0x04
	return Part{
		meta(expr.MetaKeyL4PROTO), equals(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: flagsOffset, Len: 1},
		mask([]byte{syn | rst}), equals(syn),
	}
}

// NoWayBack is `fib saddr . iif oif missing`: there is no route to the packet's source by the interface that it came in by.
func NoWayBack() Part {
	return Part{
		&expr.Fib{Register: reg, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true},
		equals(0, 0, 0, 0),
	}
}

// Reply is `ct direction reply`: the packet flows against the direction in which its connection was opened.
func Reply() Part {
	const reply = 1 // IP_CT_DIR_REPLY
	return Part{&expr.Ct{Register: reg, Key: expr.CtKeyDIRECTION}, equals(reply)}
}
