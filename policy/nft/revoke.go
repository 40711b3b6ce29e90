package nft

import (
	"fmt"
	"time"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
)

// How long a revoked flow is kept from coming back. An end of a TCP connection may send for the first time after hours, and conntrack takes what
// it sends for a new flow in the other direction, which may be allowed. UDP has no connection to end: after as long as conntrack would have kept
// the flow, what comes is another.
const (
	revokedTCP   = 24 * time.Hour
	revokedOther = 3 * time.Minute
)

// Revoke keeps flows from passing in either direction, although they were let through before. Their entries in conntrack have to be deleted after
// it. Flows of protocols without ports need no more than that.
func (t *Table) Revoke(flows []policy.Flow) error { return t.changeRevoked(flows, true) }

// Restore takes back what Revoke did.
func (t *Table) Restore(flows []policy.Flow) error { return t.changeRevoked(flows, false) }

// Revoked are the flows that are kept from passing.
func (t *Table) Revoked() []policy.Flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	out := make([]policy.Flow, 0, len(t.revoked))
	for f, until := range t.revoked {
		if until.Before(now) {
			delete(t.revoked, f)
			continue
		}
		out = append(out, f)
	}
	return out
}

func (t *Table) changeRevoked(flows []policy.Flow, revoke bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known {
		return fmt.Errorf("revoking flows: %w", ErrUnknown)
	}
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
		until[f] = now.Add(timeout)
		there, back := nft.FlowElement(f.From, f.To, uint8(f.Protocol), timeout), nft.FlowElement(f.To, f.From, uint8(f.Protocol), timeout)
		back.Comment = reply
		set.Elements = append(set.Elements, there, back)
	}
	if len(until) == 0 {
		return nil
	}
	change := nft.Change{Absent: []nft.Set{v4, v6}}
	if revoke {
		change = nft.Change{Add: []nft.Set{v4, v6}}
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

// readRevoked reads the flows that the kernel keeps from passing.
func (t *Table) readRevoked() (map[policy.Flow]time.Time, error) {
	now := time.Now()
	out := map[policy.Flow]time.Time{}
	for _, s := range []nft.Set{{Name: revoked4, Kind: nft.IPv4Flows}, {Name: revoked6, Kind: nft.IPv6Flows}} {
		elements, err := t.conn.Elements(nft.INet, TableName, s)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			from, to, protocol, ok := e.Flow()
			if ok && e.Comment != reply {
				out[policy.Flow{Protocol: policy.Protocol(protocol), From: from, To: to}] = now.Add(e.Timeout)
			}
		}
	}
	return out, nil
}
