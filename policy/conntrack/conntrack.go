// Package conntrack reads which flows the kernel keeps track of, and makes it forget some.
//
// The types of github.com/vishvananda/netlink stop here.
package conntrack

import (
	"encoding/binary"
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

// To list costs by the buckets of the kernel's table, which it walks (262,144 on a node with memory: 7 ms), and by the flows that it tells of.
const (
	// fewFlows are told in less time than the table is walked: one walk that tells all is faster then than one for each question.
	fewFlows = 4000
	// fewEnds is up to how many addresses the kernel is asked for the flows of each. It walks its table twice for one.
	fewEnds = 4
)

// List lists the flows that are wanted among those that have one of the ends, or among all where ends is nil; but for TCP connections that are
// over. It keeps no more than that of what it reads.
func (t *Tracker) List(ends map[netip.Addr]struct{}, want func(policy.Flow) bool) ([]policy.Tracked, error) {
	if ends == nil {
		return t.list(unix.AF_UNSPEC, nil, want)
	}
	if len(ends) == 0 {
		return nil, nil
	}
	count, err := t.count()
	if err != nil {
		return nil, err
	}
	if count <= fewFlows {
		return t.list(unix.AF_UNSPEC, nil, touching(ends, want))
	}
	return t.listEnds(ends, want)
}

// touching are those that are wanted and have one of the ends.
func touching(ends map[netip.Addr]struct{}, want func(policy.Flow) bool) func(policy.Flow) bool {
	return func(f policy.Flow) bool {
		_, from := ends[f.From.Addr()]
		_, to := ends[f.To.Addr()]
		return (from || to) && want(f)
	}
}

// listEnds asks as little as it can of a kernel that knows many flows.
func (t *Tracker) listEnds(ends map[netip.Addr]struct{}, want func(policy.Flow) bool) (out []policy.Tracked, err error) {
	among := touching(ends, want)
	var v4, v6 []netip.Addr
	for end := range ends {
		if end.Is4() {
			v4 = append(v4, end)
		} else {
			v6 = append(v6, end)
		}
	}
	all4 := len(v4) > fewEnds || len(v4) > 0 && t.unfiltered
	switch {
	case all4 && len(v6) > 0:
		return t.list(unix.AF_UNSPEC, nil, among)
	case all4:
		return t.list(unix.AF_INET, nil, among)
	case len(v6) > 0: // Of IPv6 addresses the kernel lists all flows but those that it is asked for: its filter is the wrong way round.
		if out, err = t.list(unix.AF_INET6, nil, among); err != nil {
			return nil, err
		}
	}
	for _, end := range v4 {
		found, err := t.listOf(end, v4, want)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// getStats asks for the number of flows (IPCTNL_MSG_CT_GET_STATS of linux/netfilter/nfnetlink_conntrack.h), which answers with globalEntries.
const getStats, globalEntries = 5, 1

// count is how many flows the kernel knows.
func (t *Tracker) count() (uint32, error) {
	// The answer says that more will come, and only an acknowledgement does.
	messages, err := t.request(getStats, unix.NLM_F_ACK, unix.AF_UNSPEC).Execute(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_CTNETLINK<<8|getStats)
	if err != nil {
		return 0, fmt.Errorf("counting the flows that conntrack knows: %w", err)
	}
	for _, m := range messages {
		for a := range attributes(m[min(len(m), nl.SizeofNfgenmsg):]) {
			if a.kind == globalEntries && len(a.data) == 4 {
				return binary.BigEndian.Uint32(a.data), nil
			}
		}
	}
	return 0, errors.New("counting the flows that conntrack knows: the kernel does not say")
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
