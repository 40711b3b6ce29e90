package revoke

import (
	"maps"
	"net/netip"

	"github.com/warren-mesh/warren/policy"
)

// ends are addresses of flows.
type ends map[netip.Addr]struct{}

func (e ends) add(all ...netip.Addr) {
	for _, a := range all {
		e[a] = struct{}{}
	}
}

func (e ends) members(all []policy.Member) {
	for _, m := range all {
		e.add(m.Address)
	}
}

// pending is what has changed since flows were judged.
type pending struct {
	// all says that it may be anything.
	all bool
	// tightened are the addresses for which something may have become forbidden, and loosened those for which something may be allowed again.
	tightened, loosened ends
}

func (p *pending) empty() bool { return !p.all && len(p.tightened)+len(p.loosened) == 0 }

// add adds a delta. Chains never change, so a pod to which other rules apply is bound anew. A member that comes tightens where its set refuses, and one
// that goes where its set accepts: which sets do is not remembered, for most do, and a pod that goes leaves all its sets anyway.
func (p *pending) add(d policy.Delta, gone []netip.Addr, refusing map[string]bool) {
	if p.tightened == nil {
		p.tightened, p.loosened = ends{}, ends{}
	}
	for _, b := range d.PodsSet {
		p.tightened.add(b.Addresses...)
		p.loosened.add(b.Addresses...)
	}
	for _, members := range d.MembersRemoved {
		p.tightened.members(members)
		p.loosened.members(members)
	}
	for set, members := range d.MembersAdded {
		p.loosened.members(members)
		if refusing[set] {
			p.tightened.members(members)
		}
	}
	p.loosened.add(gone...)
}

// join adds what was pending before.
func (p *pending) join(before pending) {
	if before.all || p.all {
		*p = pending{all: true}
		return
	}
	if p.tightened == nil {
		*p = before
		return
	}
	maps.Copy(p.tightened, before.tightened)
	maps.Copy(p.loosened, before.loosened)
}
