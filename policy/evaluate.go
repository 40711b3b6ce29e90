package policy

import (
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// answer says whether something that a policy says is so of a packet. They are ordered: the least of several is their "and", the greatest
// their "or".
type answer uint8

// What cannot be read, or is of a kind that nobody knew when this was written, may be so of any packet. It never allows, and it always
// denies: this is what failing closed means.
const (
	isNot answer = iota
	mayBe
	isSo
)

func answerOf(so bool) answer {
	if so {
		return isSo
	}
	return isNot
}

// labelled says whether a selector matches labels.
func labelled(s *metav1.LabelSelector, set map[string]string) answer {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return mayBe
	}
	return answerOf(selector.Matches(labels.Set(set)))
}

// readable says that a selector can be parsed.
func readable(s *metav1.LabelSelector) bool {
	_, err := metav1.LabelSelectorAsSelector(s)
	return err == nil
}

// within says whether an address is in a CIDR. Addresses on the wire are never those of IPv4 in IPv6.
func within(a netip.Addr, cidr string) answer {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || p.Addr().Is4In6() {
		return mayBe
	}
	return answerOf(p.Contains(a))
}

// anyPodAt says whether an address is that of a pod of which something is so.
func (q question) anyPodAt(a netip.Addr, so func(Pod) answer) answer {
	found := isNot
	for _, p := range q.world.podsAt(a) {
		found = max(found, so(p))
	}
	return found
}

// namedPort says whether a packet goes to a pod's port of that name. Which port that is, each pod says for itself.
func (q question) namedPort(name string) answer {
	return q.anyPodAt(q.packet.To, func(p Pod) answer {
		for _, port := range p.Ports {
			if port.Name == name && port.Protocol == q.packet.Protocol && port.Port == q.packet.Port {
				return isSo
			}
		}
		return isNot
	})
}

// between says whether the packet's port is from first to last.
func (q question) between(first, last int32) answer {
	if first < 1 || last < first || last > 65535 {
		return mayBe
	}
	return answerOf(first <= int32(q.packet.Port) && int32(q.packet.Port) <= last)
}
