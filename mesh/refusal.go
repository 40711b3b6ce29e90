package mesh

import "cmp"

// Reason says why something of a node is not used. It is a metric's label and an Event's reason.
type Reason string

const (
	// Malformed is a Node that cannot be read: it is no peer, but what can be read of its grants counts against younger Nodes.
	Malformed Reason = "Malformed"
	// OutsideCluster is a grant outside the cluster's pod CIDRs, or overlapping its service CIDRs.
	OutsideCluster Reason = "OutsideCluster"
	// Overlap is a grant that overlaps an older node's.
	Overlap Reason = "Overlap"
	// NotGranted is a claim that no grant covers.
	NotGranted Reason = "NotGranted"
	// KeyTaken is a public key that is another node's.
	KeyTaken Reason = "KeyTaken"
	// BadEndpoint is an endpoint that no packet may be sent to.
	BadEndpoint Reason = "BadEndpoint"
)

// Reasons are all of them.
var Reasons = []Reason{Malformed, OutsideCluster, Overlap, NotGranted, KeyTaken, BadEndpoint}

// Refusal is a claim or grant that is not used. It is comparable: the same refusal seen twice is equal.
type Refusal struct {
	Node   string `json:"node"`
	Reason Reason `json:"reason"`
	// Detail names the value and what would be right.
	Detail string `json:"detail"`
}

func (r Refusal) compare(o Refusal) int {
	return cmp.Or(cmp.Compare(r.Node, o.Node), cmp.Compare(r.Reason, o.Reason), cmp.Compare(r.Detail, o.Detail))
}
