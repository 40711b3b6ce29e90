package nft

import (
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Accept is `accept`: this base chain is done with the packet.
func Accept() Part { return Part{&expr.Verdict{Kind: expr.VerdictAccept}} }

// Drop is `drop`.
func Drop() Part { return Part{&expr.Verdict{Kind: expr.VerdictDrop}} }

// Return is `return`: the chain is done, and what called it goes on.
func Return() Part { return Part{&expr.Verdict{Kind: expr.VerdictReturn}} }

// Goto is `goto chain`: it does not come back.
func Goto(chain string) Part { return Part{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}} }

// Jump is `jump chain`.
func Jump(chain string) Part { return Part{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}} }

// Count is `counter`: one of the rule's own.
func Count() Part { return Part{&expr.Counter{}} }

// CountAs is `counter name "name"`.
func CountAs(name string) Part {
	return Part{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: name}}
}

// Limit is `limit rate 5/second burst 5 packets`: beyond that the rule does not match.
func Limit(perSecond uint32) Part {
	return Part{&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(perSecond), Unit: expr.LimitTimeSecond, Burst: perSecond}}
}

// MaxPrefix is how long the prefix of what is logged may be, in bytes.
const MaxPrefix = 127

// Log is `log prefix "prefix" group 5`: a copy goes to whoever listens to the group.
func Log(group uint16, prefix string) Part {
	return Part{&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX, Group: group, Data: []byte(prefix)}}
}

// SNAT is `snat ip to address fully-random`: the port is drawn anew for each flow, so that two flows that begin at the same time seldom want the
// same, and nobody guesses it.
func SNAT(to netip.Addr) Part {
	f := IPv6
	if to.Is4() {
		f = IPv4
	}
	return Part{
		&expr.Immediate{Register: reg, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(f), RegAddrMin: reg, RegAddrMax: reg, FullyRandom: true},
	}
}

// Masquerade is `masquerade fully-random`: source NAT to the address of the interface that the packet leaves by.
func Masquerade() Part { return Part{&expr.Masq{FullyRandom: true}} }

// ClampMSS is `tcp option maxseg size set rt mtu`: never up, and the smaller MTU of both directions' routes.
func ClampMSS() Part {
	const maxseg, valueOffset, size = 2, 2, 2
	return Part{
		&expr.Rt{Register: reg, Key: expr.RtTCPMSS},
		&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: size, Size: size},
		&expr.Exthdr{SourceRegister: reg, Type: maxseg, Offset: valueOffset, Len: size, Op: expr.ExthdrOpTcpopt},
	}
}
