package policy

import (
	"fmt"
	"net/netip"
	"slices"

	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// Endpoint is one end of a connection: a pod by its name, or this node, or, where it is neither, an address, whosever it is.
type Endpoint struct {
	Pod PodKey
	// Node are this node's addresses, where it is the end.
	Node    []netip.Addr
	Address netip.Addr
	// OwnNode says that it is the node on which the pod at the other end runs.
	OwnNode bool
}

// Explanation says what becomes of a connection, and why.
type Explanation struct {
	From, To Endpoint
	Protocol Protocol
	Port     uint16
	// Paths are one for each pair of addresses of one family, at least one.
	Paths []Path
}

// Path is a connection between two addresses. It is allowed where it is at both ends.
type Path struct {
	Packet
	Egress, Ingress End
}

// Allowed says that a path is allowed at both ends.
func (p Path) Allowed() bool { return p.Egress.Allowed && p.Ingress.Allowed }

// End is what is decided at one end of a path. What is no pod decides nothing.
type End struct {
	Pod     PodKey
	Allowed bool
	By      RuleID
	// Why is in words.
	Why string
}

// Explain judges a connection at both ends.
func (w World) Explain(from, to Endpoint, protocol Protocol, port uint16) (Explanation, error) {
	e := Explanation{From: from, To: to, Protocol: protocol, Port: port}
	sources, err := w.addressesOf(from)
	if err != nil {
		return e, err
	}
	destinations, err := w.addressesOf(to)
	if err != nil {
		return e, err
	}
	w = w.at(addresses(sources, destinations))
	for _, source := range sources {
		for _, destination := range destinations {
			if source.Is4() == destination.Is4() {
				e.Paths = append(e.Paths, w.path(from, to, Packet{From: source, To: destination, Protocol: protocol, Port: port}))
			}
		}
	}
	if len(e.Paths) == 0 {
		return e, fmt.Errorf("%s has %v, %s has %v: want addresses of one family", from.name(), sources, to.name(), destinations)
	}
	return e, nil
}

func (e Endpoint) name() string {
	switch {
	case e.Pod != (PodKey{}):
		return e.Pod.String()
	case len(e.Node) > 0:
		return "this node"
	}
	return e.Address.String()
}

func (w World) addressesOf(e Endpoint) ([]netip.Addr, error) {
	if e.Pod == (PodKey{}) {
		if len(e.Node) > 0 {
			return e.Node, nil
		}
		if !e.Address.IsValid() {
			return nil, fmt.Errorf("%v: want the name of a pod, or an address", e.Address)
		}
		return []netip.Addr{e.Address.Unmap()}, nil
	}
	pod, known := w.pod(e.Pod)
	switch {
	case !known:
		return nil, fmt.Errorf("%s: want a pod that is there, or an address", e.Pod)
	case len(pod.Addresses) == 0:
		return nil, fmt.Errorf("%s: want a pod that has an address", e.Pod)
	}
	return pod.Addresses, nil
}

func (w World) path(from, to Endpoint, p Packet) Path {
	if p.Protocol == ICMP && p.To.Is6() {
		p.Protocol = ICMPv6
	}
	return Path{Packet: p, Egress: w.end(from, Egress, p, to.OwnNode), Ingress: w.end(to, Ingress, p, from.OwnNode)}
}

// end judges at one end, which an address may name as well as a pod's name.
func (w World) end(e Endpoint, d Direction, p Packet, host bool) End {
	key := e.Pod
	if key == (PodKey{}) {
		there := w.podsAt(p.From)
		if d == Ingress {
			there = w.podsAt(p.To)
		}
		if len(there) == 0 {
			return End{Allowed: true, By: undecided, Why: e.name() + " is no pod"}
		}
		key = there[0].PodKey
	}
	allowed, by := w.Judge(key, d, p, host)
	return End{Pod: key, Allowed: allowed, By: by, Why: w.why(key, d, p, host, by)}
}

// why says in words what a RuleID is of.
func (w World) why(subject PodKey, d Direction, p Packet, host bool, by RuleID) string {
	pod, _ := w.pod(subject)
	q := question{world: w, subject: pod, direction: d, packet: p}
	isolating := q.isolating()
	switch {
	case by.Tier == AdminTier || by.Tier == BaselineTier:
		return w.whyCluster(d, by)
	case by.Tier == NetworkPolicyTier && by.Rule >= 0:
		return fmt.Sprintf("NetworkPolicy %s/%s, %s[%d]", by.Namespace, by.Policy, d, by.Rule)
	case by.Tier == NetworkPolicyTier:
		return whyIsolated(isolating)
	case pod.HostNetwork:
		return "it uses its node's network, where no policy applies"
	case pod.has(p.From) && pod.has(p.To):
		return "a pod always reaches itself"
	case host && d == Ingress:
		return "its own node always reaches it"
	case host && len(isolating) > 0:
		return "NetworkPolicy always lets it reach its own node"
	}
	return w.whyDefault(q)
}

// whyCluster is of a rule of this world.
func (w World) whyCluster(d Direction, by RuleID) string {
	rule := fmt.Sprintf("%s[%d]", d, by.Rule)
	if by.Name != "" {
		rule += fmt.Sprintf(" %q", by.Name)
	}
	p := w.ClusterPolicies[slices.IndexFunc(w.ClusterPolicies, func(p *v1alpha2.ClusterNetworkPolicy) bool { return p.Name == by.Policy })]
	return fmt.Sprintf("ClusterNetworkPolicy %s in tier %s with priority %d, %s: %s",
		by.Policy, by.Tier, p.Spec.Priority, rule, clusterRules(p, d)[by.Rule].action)
}

// whyDefault tells a pod that no policy is about from one of which no rule says anything.
func (w World) whyDefault(q question) string {
	selects := func(t Tier) bool {
		return slices.ContainsFunc(w.clusterPolicies(t), func(p *v1alpha2.ClusterNetworkPolicy) bool {
			return q.clusterSubject(p.Spec.Subject) != isNot && len(clusterRules(p, q.direction)) > 0
		})
	}
	if selects(AdminTier) || selects(BaselineTier) {
		return "no rule of a policy that selects it decides"
	}
	return "no policy selects it"
}

// Isolating are the NetworkPolicies that isolate the pod at an address in a direction, as NAMESPACE/NAME, by name.
func (w World) Isolating(a netip.Addr, d Direction) []string {
	var names []string
	for _, pod := range w.podsAt(a) {
		for _, p := range (question{world: w, subject: pod, direction: d}).isolating() {
			names = append(names, p.Namespace+"/"+p.Name)
		}
	}
	return names
}
