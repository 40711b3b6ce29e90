package revoke

import (
	"net/netip"

	"github.com/warren-mesh/warren/policy"
)

// judge knows whose an address is.
type judge struct {
	rules policy.Ruleset
	pods  map[netip.Addr]policy.Binding
	node  map[netip.Addr]bool
}

func judgeOf(s State) *judge {
	j := &judge{rules: s.Rules, pods: map[netip.Addr]policy.Binding{}, node: map[netip.Addr]bool{}}
	for _, b := range s.Rules.Pods {
		for _, a := range b.Addresses {
			j.pods[a] = b
		}
	}
	for _, a := range s.Node {
		j.node[a] = true
	}
	return j
}

// forbids says whether a flow would not be let through if it began now. What the node itself began always is.
func (j *judge) forbids(f policy.Flow) bool {
	from, to := f.From.Addr(), f.To.Addr()
	if j.node[from] {
		return false
	}
	if b, ok := j.pods[from]; ok {
		if v, _ := j.rules.Judge(b, policy.Egress, f.Packet(), j.node[to]); v == policy.Deny {
			return true
		}
	}
	if b, ok := j.pods[to]; ok {
		if v, _ := j.rules.Judge(b, policy.Ingress, f.Packet(), false); v == policy.Deny {
			return true
		}
	}
	return false
}
