// Package conntrack reads which flows the kernel keeps track of, and makes it forget some.
//
// The types of github.com/vishvananda/netlink stop here.
package conntrack

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/internal/dump"
	"github.com/warren-mesh/warren/policy"
)

// Tracker is one lasting netlink socket, in the network namespace in which it was made. It is not safe for concurrent use.
type Tracker struct {
	socket  *nl.NetlinkSocket
	sockets map[int]*nl.SocketHandle
	// unfiltered says that this kernel lists everything, whatever it is asked for: before 5.8.
	unfiltered bool
}

// New opens the socket. It needs CAP_NET_ADMIN.
func New() (*Tracker, error) {
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER) // to no group
	if err != nil {
		return nil, fmt.Errorf("opening the conntrack socket: %w", err)
	}
	return &Tracker{socket: socket, sockets: map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: socket}}}, nil
}

// Close closes the socket.
func (t *Tracker) Close() { t.socket.Close() }

// fewEnds is up to how many addresses the kernel is asked for the flows of each. It looks at all that it has each time, twice, which costs a
// fraction of listing it.
const fewEnds = 4

// List lists the flows that are wanted among those that have one of the ends, or among all where ends is nil; but for TCP connections that are
// over. It keeps no more than that of what it reads.
func (t *Tracker) List(ends map[netip.Addr]struct{}, want func(policy.Flow) bool) ([]policy.Tracked, error) {
	if ends == nil {
		return t.listFamilies(want, unix.AF_INET, unix.AF_INET6)
	}
	var v4, v6 []netip.Addr
	for end := range ends {
		if end.Is4() {
			v4 = append(v4, end)
		} else {
			v6 = append(v6, end)
		}
	}
	among := func(f policy.Flow) bool {
		_, from := ends[f.From.Addr()]
		_, to := ends[f.To.Addr()]
		return (from || to) && want(f)
	}
	var families []uint8
	if len(v4) > fewEnds || len(v4) > 0 && t.unfiltered {
		families, v4 = append(families, unix.AF_INET), nil
	}
	if len(v6) > 0 { // Of IPv6 addresses the kernel lists all flows but those that it is asked for: its filter is the wrong way round.
		families = append(families, unix.AF_INET6)
	}
	out, err := t.listFamilies(among, families...)
	for _, end := range v4 {
		if err != nil {
			return nil, err
		}
		var found []policy.Tracked
		found, err = t.listOf(end, v4, want)
		out = append(out, found...)
	}
	return out, err
}

func (t *Tracker) listFamilies(want func(policy.Flow) bool, families ...uint8) (out []policy.Tracked, err error) {
	for _, family := range families {
		found, err := t.list(family, nil, want)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// listOf lists the flows of an IPv4 address. One between two of those that are asked for is that of who opened it.
func (t *Tracker) listOf(end netip.Addr, asked []netip.Addr, want func(policy.Flow) bool) ([]policy.Tracked, error) {
	opened, err := t.list(unix.AF_INET, &filter{end, false}, func(f policy.Flow) bool {
		t.unfiltered = t.unfiltered || f.From.Addr() != end
		return f.From.Addr() == end && want(f)
	})
	if err != nil {
		return nil, err
	}
	answered, err := t.list(unix.AF_INET, &filter{end, true}, func(f policy.Flow) bool {
		return f.To.Addr() == end && !slices.Contains(asked, f.From.Addr()) && want(f)
	})
	return append(opened, answered...), err
}

// list lists what of a family passes the kernel's filter, where there is one, and is wanted.
func (t *Tracker) list(family uint8, by *filter, want func(policy.Flow) bool) ([]policy.Tracked, error) {
	found, err := dump.Undisturbed(func() (found []policy.Tracked, err error) {
		r := t.request(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, family)
		if by != nil {
			by.add(r)
		}
		err = r.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(message []byte) bool {
			if e, ok := read(message); ok && !e.over && want(e.Flow) {
				found = append(found, policy.Tracked{Flow: e.Flow, Entry: string(e.name)})
			}
			return true
		})
		return found, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the flows that conntrack knows: %w", err)
	}
	return found, nil
}

// Delete makes the kernel forget flows that List found. One that it does not know any more is no error. The next packet of a flow begins a new
// one, if it may.
func (t *Tracker) Delete(flows []policy.Tracked) error {
	var errs []error
	for _, f := range flows {
		family := uint8(unix.AF_INET6)
		if f.From.Addr().Is4() {
			family = unix.AF_INET
		}
		r := t.request(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, family)
		r.AddRawData([]byte(f.Entry))
		if _, err := r.Execute(unix.NETLINK_NETFILTER, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("%s to %s: %w", f.From, f.To, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("deleting flows that conntrack knows: %w", err)
	}
	return nil
}

func (t *Tracker) request(operation, flags int, family uint8) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|operation, flags)
	r.Sockets = t.sockets
	r.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return r
}
