// Package socket is the agent's local socket: HTTP and JSON over a unix socket that only root can open.
package socket

import (
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// DefaultPath is where the agent listens.
const DefaultPath = "/run/warren/agent.sock"

// Status is how the agent and its lane are.
type Status struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	// Mode is warrend's --mode. PodInterfaces are the links of another plugin's pods, and MigrateFrom those of the network between nodes that
	// Warren takes the place of.
	Mode          string   `json:"mode"`
	PodInterfaces []string `json:"podInterfaces,omitempty"`
	MigrateFrom   []string `json:"migrateFrom,omitempty"`
	// InClear are, while there is such a network, the nodes to which packets may leave in clear, and InClearPackets counts those that did, and
	// those that came in.
	InClear        []string `json:"inClear,omitempty"`
	InClearPackets uint64   `json:"inClearPackets,omitempty"`
	// Policy says that policies are enforced.
	Policy bool `json:"policy"`
	// With mode "policy", PolicedLinks is how many links lead to pods on which policy is enforced, and Unpoliced are the pods on which it is not, and
	// why, as "namespace/name: why".
	PolicedLinks int      `json:"policedLinks,omitempty"`
	Unpoliced    []string `json:"unpoliced,omitempty"`
	// Ready says whether the mesh is programmed; Problem is the last failure where it is not.
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"`
	// Implementation is "kernel" or "userspace".
	Implementation string             `json:"implementation"`
	Interface      string             `json:"interface"`
	PublicKey      identity.PublicKey `json:"publicKey,omitzero"`
	ListenPort     uint16             `json:"listenPort"`
	MTU            int                `json:"mtu"`
	PodCIDRs       []netip.Prefix     `json:"podCIDRs"`
	MeshAddresses  []netip.Addr       `json:"meshAddresses"`
	Peers          int                `json:"peers"`
	// Waiting are nodes that have not published yet, or have no pod CIDR or no NodeKey.
	Waiting []string `json:"waiting"`
	// Refused are claims and grants that are not used.
	Refused []mesh.Refusal `json:"refused"`
	// Lacking are what the agent has to do with the API and may not, as "list nodes (for what)".
	Lacking []string `json:"lacking,omitempty"`
	// StoppedBytes and StoppedPackets are pod traffic that was kept from leaving in clear.
	StoppedBytes   uint64 `json:"stoppedBytes"`
	StoppedPackets uint64 `json:"stoppedPackets"`
}

// Peer is a peer as WireGuard has it now, with its node's name.
type Peer struct {
	Node          string             `json:"node"`
	PublicKey     identity.PublicKey `json:"publicKey"`
	Endpoint      netip.AddrPort     `json:"endpoint,omitzero"`
	AllowedIPs    []netip.Prefix     `json:"allowedIPs"`
	LastHandshake time.Time          `json:"lastHandshake,omitzero"`
	ReceiveBytes  int64              `json:"receiveBytes"`
	TransmitBytes int64              `json:"transmitBytes"`
}
