package conntrack

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// filter has the kernel list the flows of one IPv4 address only: of who opened them, or of who answers, which is where a DNAT sent them.
type filter struct {
	end     netip.Addr
	answers bool
}

// The kernel's CTA_FILTER and its parts, which nl does not have.
const (
	ctaFilter      = 25
	ctaFilterOrig  = 1
	ctaFilterReply = 2
	sourceOnly     = 1 // the flag of CTA_IP_V4_SRC
)

func (f filter) add(r *nl.NetlinkRequest) {
	tuple, flags := nl.CTA_TUPLE_ORIG, ctaFilterOrig
	if f.answers {
		tuple, flags = nl.CTA_TUPLE_REPLY, ctaFilterReply
	}
	of := nl.NewRtAttr(unix.NLA_F_NESTED|tuple, nil)
	of.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil).AddRtAttr(nl.CTA_IP_V4_SRC, f.end.AsSlice())
	by := nl.NewRtAttr(unix.NLA_F_NESTED|ctaFilter, nil)
	by.AddRtAttr(flags, nl.Uint32Attr(sourceOnly))
	r.AddData(of)
	r.AddData(by)
}
