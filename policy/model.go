package policy

import (
	"net/netip"
	"strconv"
)

// PodKey names a pod.
type PodKey struct{ Namespace, Name string }

func (k PodKey) String() string { return k.Namespace + "/" + k.Name }

// Pod is what policy reads of a Pod. Pods that have ended (phase Succeeded or Failed) are not handed in; those that terminate are.
type Pod struct {
	PodKey
	// Labels are shared, not copied: nobody changes them.
	Labels map[string]string
	// Addresses are status.podIPs, unmapped. A pod without an address yet is a peer of nobody.
	Addresses []netip.Addr
	// Ports are the named ports of all its containers, sidecars among them.
	Ports []NamedPort
	// HostNetwork pods are never a subject, and no peer by their labels: their addresses are their node's.
	HostNetwork bool
	// Here says that it is bound to this node: what applies to it is in the Ruleset before it has an interface.
	Here bool
}

// NamedPort is a container's port that has a name.
type NamedPort struct {
	Name     string
	Protocol Protocol
	Port     uint16
}

// Local is an interface of a pod of this node.
type Local struct {
	// Interface is the host end of the pod's veth. It is the key.
	Interface string
	PodKey
	// Addresses are what the interface was given. They count as the pod's own before its status names them.
	Addresses []netip.Addr
}

// Namespace is what policy reads of a Namespace.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Node is what policy reads of a Node, for `nodes` peers.
type Node struct {
	Name   string
	Labels map[string]string
	// Addresses are status.addresses of the types InternalIP and ExternalIP, and the node's mesh addresses.
	Addresses []netip.Addr
}

// Protocol is an IP protocol's number (IANA).
type Protocol uint8

// The protocols that policies name.
const (
	ICMP   Protocol = 1
	TCP    Protocol = 6
	UDP    Protocol = 17
	ICMPv6 Protocol = 58
	SCTP   Protocol = 132
)

func (p Protocol) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMPv6:
		return "icmpv6"
	case SCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// Direction is the side of the subject.
type Direction bool

// The directions.
const (
	Ingress Direction = false
	Egress  Direction = true
)

func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// Tier is a stage of the walk of one direction: Admin, then NetworkPolicy, which ends it for the pods that it isolates, then Baseline.
type Tier uint8

// The tiers, in the order of the walk. NoTier is the default after all of them, which accepts.
const (
	NoTier Tier = iota
	AdminTier
	NetworkPolicyTier
	BaselineTier
)

func (t Tier) String() string {
	switch t {
	case AdminTier:
		return "Admin"
	case NetworkPolicyTier:
		return "NetworkPolicy"
	case BaselineTier:
		return "Baseline"
	case NoTier:
	}
	return "default"
}

// RuleID says which rule of which policy decided. It is comparable.
type RuleID struct {
	Tier Tier
	// Namespace is empty for ClusterNetworkPolicies.
	Namespace, Policy string
	// Rule is the index in the policy's ingress or egress list. It is -1 where no rule matched: for the isolation of NetworkPolicy, in
	// which case Namespace and Policy are empty too if several policies isolate the pod, and for the default.
	Rule int
	// Name is the rule's own, where it has one.
	Name string
}
