package ipam

import (
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Pool is an IPPool that was found to be sound.
type Pool struct {
	Name string
	// CIDR is the pool's addresses, of one family, and BlockSize the prefix length of its blocks.
	CIDR      netip.Prefix
	BlockSize int
	// Created and UID say which of two pools that overlap is the older one.
	Created time.Time
	UID     string
	// Nodes selects those that may claim blocks; never nil.
	Nodes labels.Selector
	// Namespaces selects those that are bound to the pool; nil where none is.
	Namespaces labels.Selector
	// NATOutgoing says that pods' packets that leave the cluster have their node's address.
	NATOutgoing bool
	// Disabled says that nobody gets anything new from it.
	Disabled bool
	// Pods and MeshAddresses are what its addresses may be for.
	Pods, MeshAddresses bool
}

// Block is an IPBlock that is named as it must be: a part of a pool that a node holds, or that is being given up.
type Block struct {
	CIDR netip.Prefix
	// Pool and Node are names. NodeUID is of the Node that owns it.
	Pool, Node, NodeUID string
	// MeshAddress says that the node's mesh address is in it.
	MeshAddress bool
	Created     time.Time
	// Freed is when its deletion began; zero where it has not. Until it is gone the name is taken, and nobody holds the block.
	Freed time.Time
}
