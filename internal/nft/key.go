package nft

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// wordSize is what a part of a concatenation is padded to, in bytes.
const wordSize = 4

// AddressElement is an element of addresses.
func AddressElement(a netip.Addr) Element { return Element{First: string(a.AsSlice())} }

// RangeElement is an element of ranges, from first to last, both among it.
func RangeElement(first, last netip.Addr) Element {
	e := Element{First: string(first.AsSlice())}
	if next := last.Next(); next.IsValid() { // nothing comes after the last address
		e.End = string(next.AsSlice())
	}
	return e
}

// PortElement is an element of ports.
func PortElement(a netip.Addr, protocol uint8, port uint16) Element {
	key := a.AsSlice()
	return Element{First: string(appendPort(append(key, protocol, 0, 0, 0), port))}
}

// InterfaceAddressElement is an element of interfaces' addresses.
func InterfaceAddressElement(i string, a netip.Addr) Element {
	return Element{First: padded(i, ifNameSize) + string(a.AsSlice())}
}

// FlowElement is an element of flows, that goes after a while.
func FlowElement(from, to netip.AddrPort, protocol uint8, timeout time.Duration) Element {
	key := append(from.Addr().AsSlice(), to.Addr().AsSlice()...)
	key = append(key, protocol, 0, 0, 0)
	return Element{First: string(appendPort(appendPort(key, from.Port()), to.Port())), Timeout: timeout}
}

// Flow reads an element of flows.
func (e Element) Flow() (from, to netip.AddrPort, protocol uint8, ok bool) {
	const tail = 3 * wordSize
	key := []byte(e.First)
	size := (len(key) - tail) / 2
	if size <= 0 {
		return from, to, 0, false
	}
	a, okA := netip.AddrFromSlice(key[:size])
	b, okB := netip.AddrFromSlice(key[size : 2*size])
	rest := key[2*size:]
	if !okA || !okB || len(rest) != tail {
		return from, to, 0, false
	}
	from = netip.AddrPortFrom(a, binary.BigEndian.Uint16(rest[wordSize:]))
	to = netip.AddrPortFrom(b, binary.BigEndian.Uint16(rest[2*wordSize:]))
	return from, to, rest[0], true
}

func appendPort(key []byte, port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(key, port), 0, 0)
}
