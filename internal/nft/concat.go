package nft

import (
	"net"

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

// FlowIn is `ip saddr . ip daddr . meta l4proto . th sport . th dport @set`.
func FlowIn(f Family, set string) Part {
	var c concat
	c.address(f, false)
	c.address(f, true)
	c.meta(expr.MetaKeyL4PROTO, 1)
	c.payload(expr.PayloadBaseTransportHeader, sourcePort, portSize)
	c.payload(expr.PayloadBaseTransportHeader, destinationPort, portSize)
	return c.in(f, set)
}
