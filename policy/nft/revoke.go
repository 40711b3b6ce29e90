package nft

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
)

// How long a revoked flow is kept from coming back. An end of a TCP connection may send for the first time after hours, and conntrack takes what
// it sends for a new flow in the other direction, which may be allowed. UDP has no connection to end: once neither end has sent for as long as
// conntrack would have kept the flow, what comes is another.
const (
	revokedTCP   = 24 * time.Hour
	revokedOther = 3 * time.Minute
)

// Revoke keeps flows from passing in either direction, although they were let through before. Their entries in conntrack have to be deleted after
// it. Flows of protocols without ports need no more than that.
func (t *Table) Revoke(flows []policy.Flow) error { return t.changeRevoked(flows, true) }

const (
	// underWay is longer than a packet takes through the rules.
	underWay = 50 * time.Millisecond
	// bundle is how many flows one transaction takes back: others have their turn between two.
	bundle = 2000
)

// Restore takes back what Revoke did. A packet that is on its way through the rules meanwhile may still be remembered as one that insists, after
// that was taken back, and would keep its flow away for as long as an end sends: so all is taken back once more when it is through.
func (t *Table) Restore(flows []policy.Flow) error {
	for turn := range 2 {
		if turn > 0 {
			time.Sleep(underWay)
		}
		for some := range slices.Chunk(flows, bundle) {
			if err := t.changeRevoked(some, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// Revoked are the flows that are kept from passing. Those whose time is over are among them until the next Set.
func (t *Table) Revoked() []policy.Flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.revoked))
}

func (t *Table) changeRevoked(flows []policy.Flow, revoke bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known {
		return fmt.Errorf("revoking flows: %w", ErrUnknown)
	}
	return t.sendRevoked(flows, revoke)
}

// sendRevoked changes what is revoked. mu is held.
func (t *Table) sendRevoked(flows []policy.Flow, revoke bool) error {
	now := time.Now()
	v4, v6 := nft.Set{Name: revoked4, Kind: nft.IPv4Flows}, nft.Set{Name: revoked6, Kind: nft.IPv6Flows}
	until := make(map[policy.Flow]time.Time, len(flows))
	for _, f := range flows {
		if !f.Ported() {
			continue
		}
		timeout, set := revokedOther, &v6
		if f.Protocol == policy.TCP {
			timeout = revokedTCP
		}
		if f.From.Addr().Is4() {
			set = &v4
		}
		_, both := until[f.Back()]
		if until[f] = now.Add(timeout); both { // The elements are the same.
			continue
		}
		there, back := nft.FlowElement(f.From, f.To, uint8(f.Protocol), timeout), nft.FlowElement(f.To, f.From, uint8(f.Protocol), timeout)
		back.Comment = reply
		set.Elements = append(set.Elements, there, back)
	}
	if len(until) == 0 {
		return nil
	}
	change := nft.Change{Add: []nft.Set{v4, v6}}
	if !revoke {
		change = nft.Change{Absent: []nft.Set{v4, v6, {Name: insisting4, Kind: v4.Kind, Elements: v4.Elements}, {Name: insisting6, Kind: v6.Kind, Elements: v6.Elements}}}
	}
	if err := t.send(change); err != nil {
		t.known = false
		return fmt.Errorf("revoking flows: %w", err)
	}
	for f, end := range until {
		delete(t.revoked, f)
		if revoke {
			t.revoked[f] = end
		}
	}
	return nil
}

// reply marks the elements that are for a flow's way back.
const reply = "reply"

// readRevoked reads the flows that the kernel keeps from passing. Where the table had drifted it revokes again what was lost with it.
func (t *Table) readRevoked(drifted bool) error {
	now, had := time.Now(), t.revoked
	revoked, err := t.readFlows(now, revoked4, revoked6)
	if err != nil {
		return err
	}
	insisting, err := t.readFlows(now, insisting4, insisting6)
	if err != nil {
		return err
	}
	t.revoked = maps.Clone(revoked)
	for f, until := range insisting {
		// Of one of which nothing else is known nobody knows who opened it: it is there in both directions.
		known := func(flows map[policy.Flow]time.Time) bool { _, is := flows[f.Back()]; return is }
		if _, is := revoked[f]; !is && !known(revoked) && !known(had) {
			t.revoked[f] = until
		}
	}
	var lost []policy.Flow
	for f, until := range had {
		if _, there := t.revoked[f]; !there && drifted && until.After(now) {
			lost = append(lost, f)
		}
	}
	return t.sendRevoked(lost, true)
}

// readFlows reads the flows in the sets of both families, and until when they are there, but for those that are another's way back.
func (t *Table) readFlows(now time.Time, name4, name6 string) (map[policy.Flow]time.Time, error) {
	out := map[policy.Flow]time.Time{}
	for _, s := range []nft.Set{{Name: name4, Kind: nft.IPv4Flows}, {Name: name6, Kind: nft.IPv6Flows}} {
		elements, err := t.conn.Elements(nft.INet, TableName, s)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if from, to, protocol, ok := e.Flow(); ok && e.Comment != reply {
				out[policy.Flow{Protocol: policy.Protocol(protocol), From: from, To: to}] = now.Add(e.Timeout)
			}
		}
	}
	return out, nil
}
