package nft

import (
	"fmt"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/policy"
)

// Dropped is how many packets were dropped for one reason since the table was made.
type Dropped struct {
	Direction policy.Direction
	// Unbound is because a pod had no rules yet, and Revoked because policy had come to forbid the flow; otherwise it is by a rule.
	Unbound, Revoked bool
	// Spoofed is because another plugin's pod sent under an address that is not its own.
	Spoofed bool
	Packets uint64
}

// droppedBy are the counters, in the order in which the table lists them.
var droppedBy = []struct {
	counter string
	Dropped
}{
	{deniedEgress, Dropped{Direction: policy.Egress}},
	{deniedIngress, Dropped{Direction: policy.Ingress}},
	{unboundEgress, Dropped{Direction: policy.Egress, Unbound: true}},
	{unboundIngress, Dropped{Direction: policy.Ingress, Unbound: true}},
	{revokedFlow, Dropped{Direction: policy.Egress, Revoked: true}},
	{spoofed, Dropped{Direction: policy.Egress, Spoofed: true}},
}

func (o Options) baseCounters() (out []nft.Counter) {
	for _, by := range droppedBy {
		if o.Theirs || !by.Spoofed {
			out = append(out, nft.Counter{Name: by.counter})
		}
	}
	return out
}

// counterOf is what counts that rules of a chain deny.
func counterOf(d policy.Direction) string {
	if d == policy.Egress {
		return deniedEgress
	}
	return deniedIngress
}

// Dropped reads how many packets were dropped, whether they were told of or not.
func (t *Table) Dropped() ([]Dropped, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counters, err := t.conn.Counters(nft.INet, TableName)
	if err != nil {
		return nil, fmt.Errorf("reading how many packets policy dropped: %w", err)
	}
	var out []Dropped
	for _, by := range droppedBy {
		for _, c := range counters {
			if c.Name == by.counter {
				by.Packets = c.Packets
				out = append(out, by.Dropped)
			}
		}
	}
	return out, nil
}
