package agent

import (
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/mesh/wg"
)

// DefaultInterface is the name of a node's lane.
const DefaultInterface = "warren0"

// auditInterval is how often at most the agent compares the whole plan with the kernel, event or not.
const auditInterval = 90 * time.Second

// Mode is what of Warren runs on a node.
type Mode string

// The modes.
const (
	// Full gives pods addresses and wires, and carries and polices what they send.
	Full Mode = "full"
	// MeshOnly carries what the pods of another plugin send to other nodes.
	MeshOnly Mode = "mesh"
	// PolicyOnly polices what the pods of another plugin send, on a network that is not Warren's.
	PolicyOnly Mode = "policy"
)

// Config is how one agent is to run. It has been validated.
type Config struct {
	NodeName string
	Mode     Mode
	// PodLinks are the host's links that lead to another plugin's pods, as mesh.Guard has them: with MeshOnly to all, else to those that are
	// there from before.
	PodLinks []string
	// MigrateFrom are the links of the network between nodes that Warren takes the place of; none where there is none, or not any more.
	MigrateFrom []string
	// Kubeconfig is a file; empty is in-cluster.
	Kubeconfig string
	WireGuard  wg.Mode
	Interface  string
	// TunnelSocket is where the userspace device is asked for (tunnel.Ask); empty starts a process for it.
	TunnelSocket string
	ListenPort   uint16
	// MTU is the lane's, in bytes; 0 takes it from the underlay.
	MTU          int
	ClusterCIDRs []netip.Prefix
	// ServiceCIDRs are asked from the API where there are none.
	ServiceCIDRs []netip.Prefix
	// NATExclude are destinations out of the cluster that pods reach with their own addresses; with NoNAT, all are.
	NATExclude []netip.Prefix
	NoNAT      bool
	// Pools says that pods' and mesh addresses come from blocks of IPPools, and not from the Node's pod CIDRs.
	Pools bool
	// BlockIdle is how long a block has nobody's address before it is returned.
	BlockIdle time.Duration
	// Policy says that NetworkPolicies and ClusterNetworkPolicies are enforced.
	Policy   bool
	StateDir string
	Socket   string
	// CNIConfDir and CNIBinDir are where the container runtime finds the CNI configuration and plugin; empty: nothing is put there.
	CNIConfDir, CNIBinDir string
	// CNIConfLink says that the configuration is to end with the machine: a node is not Ready after a reboot before its agent serves it.
	CNIConfLink bool
	// MetricsBindAddress is address:port; empty is none.
	MetricsBindAddress string
}
