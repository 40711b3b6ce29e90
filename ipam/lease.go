// Package ipam hands out a node's addresses: which, and for how long nobody else gets them. It is pure. Who calls it gives the time, and
// keeps what was decided on disk (ipam/journal).
package ipam

import (
	"net/netip"
	"time"
)

// Key says whose a lease is: a container's, for one of its interfaces.
type Key struct {
	ContainerID string `json:"containerID"`
	Interface   string `json:"interface"`
}

// Pod is a pod in Kubernetes. A caller that is not Kubernetes has none.
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// Request is what a lease is asked for with.
type Request struct {
	Key
	Pod Pod `json:"pod,omitzero"`
	// Network is the name of the CNI configuration.
	Network string `json:"network,omitempty"`
	// NetNS is the path of the pod's network namespace.
	NetNS string `json:"netns,omitempty"`
}

// Lease says that a container has these addresses, at most one of a family, until it is released.
type Lease struct {
	Request
	Addresses []netip.Addr `json:"addresses"`
	Since     time.Time    `json:"since,omitzero"`
	// HostLocal is the folder of the host-local plugin that the lease was read from; its addresses' files are there for as long as
	// it lasts. It is empty where the lease is our own.
	HostLocal string `json:"hostLocal,omitempty"`
}

// Freed is an address that was released.
type Freed struct {
	Address netip.Addr `json:"address"`
	At      time.Time  `json:"at"`
}
