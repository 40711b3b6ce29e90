package nft

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// dumpedElement is one as the kernel has it. A range is two: its beginning, and its end.
type dumpedElement struct {
	Element
	end bool
}

// readElements reads the elements of a set of a kind of ours, in the kernel's order unless they are ranges.
func (c *Conn) readElements(t *Table, s *Set) error {
	if s.Kind == 0 {
		return nil
	}
	s.Elements, s.torn = nil, false
	var ends []dumpedElement
	err := c.eachElement(t, s, func(attributes []byte) error {
		e, err := elementOf(s.Kind, attributes)
		if s.Kind.ranges() {
			ends = append(ends, e)
		} else {
			s.Elements = append(s.Elements, e.Element)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("the elements of set %s: %w", s.Name, err)
	}
	if s.Kind.ranges() {
		s.Elements, s.torn = rangesOf(ends)
	}
	return nil
}

// eachElement goes through the attributes of each element of a set.
func (c *Conn) eachElement(t *Table, s *Set, do func(attributes []byte) error) error {
	asked := []netlink.Attribute{
		{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: []byte(t.Name + "\x00")},
		{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: []byte(s.Name + "\x00")},
	}
	return c.dump(unix.NFT_MSG_GETSETELEM, t.Family, asked, func(attributes []byte) error {
		return eachAttribute(attributes, func(kind uint16, value []byte) error {
			if kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				return nil
			}
			return eachAttribute(value, func(_ uint16, element []byte) error { return do(element) })
		})
	})
}

// elementOf reads one element.
func elementOf(k Kind, attributes []byte) (e dumpedElement, err error) {
	err = eachAttribute(attributes, func(kind uint16, value []byte) error {
		switch {
		case kind == unix.NFTA_SET_ELEM_KEY:
			return eachAttribute(value, func(_ uint16, key []byte) error {
				e.First = string(key)
				return nil
			})
		case kind == unix.NFTA_SET_ELEM_DATA:
			return eachAttribute(value, func(_ uint16, data []byte) error {
				e.Verdict = verdictOf(k, data)
				return nil
			})
		case kind == unix.NFTA_SET_ELEM_FLAGS && len(value) == 4:
			e.end = binary.BigEndian.Uint32(value)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case kind == unix.NFTA_SET_ELEM_EXPIRATION && len(value) == 8:
			e.Timeout = time.Duration(binary.BigEndian.Uint64(value)) * time.Millisecond //nolint:gosec // the kernel's are not that long
		case kind == unix.NFTA_SET_ELEM_USERDATA:
			e.Comment = commentOf(value)
		}
		return nil
	})
	return e, err
}

// rangesOf joins beginnings and ends, which come in any order. Torn are those that have no proper ones.
func rangesOf(ends []dumpedElement) (ranges []Element, torn bool) {
	// At the same key the end of one range comes before the beginning of the next.
	slices.SortFunc(ends, func(a, b dumpedElement) int {
		if c := strings.Compare(a.First, b.First); c != 0 || a.end == b.end {
			return c
		}
		if a.end {
			return -1
		}
		return 1
	})
	open := false
	for _, e := range ends {
		switch {
		case !e.end && !open:
			ranges, open = append(ranges, Element{First: e.First}), true
		case e.end && open:
			ranges[len(ranges)-1].End, open = e.First, false
		case e.end && strings.Trim(e.First, "\x00") == "":
			// nft puts an end at address zero when it restores a set. It means nothing.
		default:
			return nil, true
		}
	}
	return ranges, false
}
