// Package conntrack reads which flows the kernel keeps track of, and makes it forget some.
//
// The types of github.com/vishvananda/netlink stop here.
package conntrack

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/policy"
)

// Tracker is one lasting netlink socket, in the network namespace in which it was made. It is not safe for concurrent use.
type Tracker struct{ handle *netlink.Handle }

// New opens the socket. It needs CAP_NET_ADMIN.
func New() (*Tracker, error) {
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening the conntrack socket: %w", err)
	}
	return &Tracker{handle: h}, nil
}

// Close closes the socket.
func (t *Tracker) Close() { t.handle.Close() }

// families are asked one after the other.
var families = []netlink.InetFamily{unix.AF_INET, unix.AF_INET6}

// List lists the flows that are wanted, but for TCP connections that are over.
func (t *Tracker) List(want func(policy.Flow) bool) ([]policy.Flow, error) {
	var out []policy.Flow
	for _, f := range families {
		found, err := dump.Undisturbed(func() ([]*netlink.ConntrackFlow, error) {
			return t.handle.ConntrackTableList(netlink.ConntrackTable, f)
		})
		if err != nil {
			return nil, fmt.Errorf("listing the flows that conntrack knows: %w", err)
		}
		for _, one := range found {
			if flow, ok := flowOf(one); ok && !over(one) && want(flow) {
				out = append(out, flow)
			}
		}
	}
	return out, nil
}

// Delete makes the kernel forget flows, and says how many it knew. The next packet of one begins a new flow, if it may.
func (t *Tracker) Delete(flows []policy.Flow) (int, error) {
	these := make(among, len(flows))
	for _, f := range flows {
		these[f] = true
	}
	deleted := 0
	var errs []error
	for _, f := range families {
		n, err := t.handle.ConntrackDeleteFilters(netlink.ConntrackTable, f, these)
		deleted += int(n)
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return deleted, fmt.Errorf("deleting %d flows that conntrack knows: %w", len(these), err)
	}
	return deleted, nil
}

// among matches these flows.
type among map[policy.Flow]bool

var _ netlink.CustomConntrackFilter = among{}

// MatchConntrackFlow is for netlink.
func (a among) MatchConntrackFlow(one *netlink.ConntrackFlow) bool {
	flow, ok := flowOf(one)
	return ok && a[flow]
}

// flowOf is a flow as rules see it: the source is what the first packet had, and the destination is who answers, which is where a DNAT sent
// it; a source NAT comes after the rules.
func flowOf(one *netlink.ConntrackFlow) (policy.Flow, bool) {
	from, okFrom := netip.AddrFromSlice(one.Forward.SrcIP)
	to, okTo := netip.AddrFromSlice(one.Reverse.SrcIP)
	f := policy.Flow{Protocol: policy.Protocol(one.Forward.Protocol)}
	f.From, f.To = netip.AddrPortFrom(from.Unmap(), 0), netip.AddrPortFrom(to.Unmap(), 0)
	if f.Ported() {
		f.From, f.To = netip.AddrPortFrom(from.Unmap(), one.Forward.SrcPort), netip.AddrPortFrom(to.Unmap(), one.Reverse.SrcPort)
	}
	return f, okFrom && okTo
}

// over says that a TCP connection has ended: nothing of it passes any more but the last answers.
func over(one *netlink.ConntrackFlow) bool {
	const timeWait, closed = 7, 8 // TCP_CONNTRACK_TIME_WAIT, TCP_CONNTRACK_CLOSE
	tcp, ok := one.ProtoInfo.(*netlink.ProtoInfoTCP)
	return ok && (tcp.State == timeWait || tcp.State == closed)
}
