package ipam

import (
	"encoding/binary"
	"hash/fnv"
	"math/bits"
	"net/netip"
)

// maxProbed bounds how many blocks of a pool are claimed: of one with more, the first so many.
const maxProbed = 32

// probe finds the next block of a pool that nobody has. Each node begins elsewhere, so that few ever want the same. What covers many
// blocks, a reservation as wide as the pool, is passed in one step, so that no pool is too large.
func (l Ledger) probe(p Pool) (netip.Prefix, error) {
	e := &NoBlockError{Pool: p.Name, Total: blocks(p)}
	taken := newCover(p)
	for _, b := range l.Blocks {
		if taken.add(b.CIDR) {
			if b.Freed.IsZero() {
				e.Claimed++
			} else {
				e.Resting++
			}
		}
	}
	for gone := range l.Gone {
		if taken.add(gone) {
			e.Resting++
		}
	}
	var parts []netip.Prefix // reservations of parts of blocks
	for _, r := range l.Reserved {
		if r.Bits() <= p.BlockSize {
			taken.add(r)
		} else if p.CIDR.Overlaps(r) {
			parts = append(parts, r)
		}
	}
	start := hash(l.Node+"/"+p.Name) % e.Total
	for passed := uint64(0); passed < e.Total; {
		i := (start + passed) % e.Total
		candidate := block(p, i)
		by, covered := taken.by(candidate)
		switch {
		case !covered && hasRoom(candidate, parts):
			return candidate, nil
		case !covered:
			passed++
		default:
			passed += min(remaining(p, by, i), e.Total-i)
		}
	}
	return netip.Prefix{}, e
}

// blocks is how many blocks of a pool are claimed at most.
func blocks(p Pool) uint64 { return 1 << min(p.BlockSize-p.CIDR.Bits(), maxProbed) }

// block is the i-th of a pool, from 0.
func block(p Pool, i uint64) netip.Prefix {
	addr := p.CIDR.Masked().Addr()
	raw := addr.As16()
	high, low := binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
	shift := addr.BitLen() - p.BlockSize
	var carry uint64
	if shift < 64 {
		low, carry = bits.Add64(low, i<<shift, 0)
		high += i >> (64 - shift)
	} else {
		high += i << (shift - 64)
	}
	binary.BigEndian.PutUint64(raw[:8], high+carry)
	binary.BigEndian.PutUint64(raw[8:], low)
	next := netip.AddrFrom16(raw)
	if addr.Is4() {
		next = next.Unmap()
	}
	return netip.PrefixFrom(next, p.BlockSize)
}

// remaining is how many blocks of a pool, from the i-th on, lie in a prefix that covers that one.
func remaining(p Pool, by netip.Prefix, i uint64) uint64 {
	order := p.BlockSize - by.Bits()
	if order >= maxProbed {
		return 1 << maxProbed
	}
	run := uint64(1) << order
	return run - i%run
}

// hasRoom says whether pods may have an address of a block in spite of reservations.
func hasRoom(block netip.Prefix, reserved []netip.Prefix) bool {
	for i := range usable(block) {
		if !covered(address(block, i), reserved) {
			return true
		}
	}
	return false
}

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // never fails
	return h.Sum64()
}

// cover is prefixes by which blocks of a pool are covered, wholly or in part.
type cover struct {
	pool Pool
	// prefixes are as wide as a block or wider, and widths are the lengths that they have.
	prefixes map[netip.Prefix]struct{}
	widths   map[int]struct{}
}

func newCover(p Pool) cover {
	return cover{pool: p, prefixes: map[netip.Prefix]struct{}{}, widths: map[int]struct{}{}}
}

// add says whether the prefix concerns the pool, and was not there already.
func (c cover) add(p netip.Prefix) bool {
	if !p.Overlaps(c.pool.CIDR) {
		return false
	}
	width := min(p.Bits(), c.pool.BlockSize)
	p = netip.PrefixFrom(p.Addr(), width).Masked()
	_, known := c.prefixes[p]
	c.prefixes[p], c.widths[width] = struct{}{}, struct{}{}
	return !known
}

// by is what covers a block.
func (c cover) by(block netip.Prefix) (netip.Prefix, bool) {
	for width := range c.widths {
		p := netip.PrefixFrom(block.Addr(), width).Masked()
		if _, ok := c.prefixes[p]; ok {
			return p, true
		}
	}
	return netip.Prefix{}, false
}
