package nft

import (
	"net"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// register is where the word of that number is loaded. The first four words are register 1, and so on; the kernel says it that way where
// both names fit.
func register(word uint32) uint32 {
	const words, first = 4, unix.NFT_REG32_00
	if word%words == 0 {
		return reg + word/words
	}
	return first + word
}

// concat loads one thing after the other, and looks them up together.
type concat struct {
	part Part
	word uint32
}

func (c *concat) payload(base expr.PayloadBase, offset, size uint32) {
	c.part = append(c.part, &expr.Payload{DestRegister: register(c.word), Base: base, Offset: offset, Len: size})
	c.word += (size + wordSize - 1) / wordSize
}

func (c *concat) meta(key expr.MetaKey, words uint32) {
	c.part = append(c.part, &expr.Meta{Key: key, Register: register(c.word)})
	c.word += words
}

func (c *concat) address(f Family, destination bool) {
	offset, size := uint32(12), uint32(net.IPv4len)
	if f == IPv6 {
		offset, size = 8, net.IPv6len
	}
	if destination {
		offset += size
	}
	c.payload(expr.PayloadBaseNetworkHeader, offset, size)
}

// sourcePort and destinationPort are where TCP, UDP and SCTP have them.
const (
	sourcePort      = 0
	destinationPort = 2
	portSize        = 2
)

func (c *concat) in(f Family, set string) Part {
	of := Part{meta(expr.MetaKeyNFPROTO), equals(byte(f))}
	return append(append(of, c.part...), lookup(set, false))
}

// DaddrPortIn is `ip daddr . meta l4proto . th dport @set`.
func DaddrPortIn(f Family, set string) Part {
	var c concat
	c.address(f, true)
	c.meta(expr.MetaKeyL4PROTO, 1)
	c.payload(expr.PayloadBaseTransportHeader, destinationPort, portSize)
	return c.in(f, set)
}

// IIFNameDaddrIn is `iifname . ip daddr @set`.
func IIFNameDaddrIn(f Family, set string) Part {
	var c concat
	c.meta(expr.MetaKeyIIFNAME, ifNameSize/wordSize)
	c.address(f, true)
	return c.in(f, set)
}

// IIFNameSaddrIn is `iifname . ip saddr @set`.
func IIFNameSaddrIn(f Family, set string) Part {
	var c concat
	c.meta(expr.MetaKeyIIFNAME, ifNameSize/wordSize)
	c.address(f, false)
	return c.in(f, set)
}

// FlowIn is `ip saddr . ip daddr . meta l4proto . th sport . th dport @set`.
func FlowIn(f Family, set string) Part {
	c := flow(f, false)
	return c.in(f, set)
}

// KeepFlow is `update @set { ip saddr . ip daddr . meta l4proto . th sport . th dport timeout ... }`, or with back the same of the answer. An
// element that is there begins its time-out anew.
func KeepFlow(f Family, set string, back bool, timeout time.Duration) Part {
	of := Part{meta(expr.MetaKeyNFPROTO), equals(byte(f))}
	return append(append(of, flow(f, back).part...),
		&expr.Dynset{SrcRegKey: reg, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: timeout})
}

func flow(f Family, back bool) (c concat) {
	first, second := uint32(sourcePort), uint32(destinationPort)
	if back {
		first, second = second, first
	}
	c.address(f, back)
	c.address(f, !back)
	c.meta(expr.MetaKeyL4PROTO, 1)
	c.payload(expr.PayloadBaseTransportHeader, first, portSize)
	c.payload(expr.PayloadBaseTransportHeader, second, portSize)
	return c
}
