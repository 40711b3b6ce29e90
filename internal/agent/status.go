package agent

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/version"
	"github.com/warren-mesh/warren/mesh"
)

var _ socket.Backend = (*Agent)(nil)

// Status implements socket.Backend.
func (a *Agent) Status() (socket.Status, error) {
	if a.config.Mode == PolicyOnly {
		return a.policyStatus(), nil
	}
	counters, err := a.guard.Counters()
	if err != nil {
		return socket.Status{}, fmt.Errorf("reading the guard's counters: %w", err)
	}
	problem := a.problem.String()
	a.mu.Lock()
	defer a.mu.Unlock()
	status := socket.Status{
		Node: a.config.NodeName, Version: version.String(), Ready: a.programmed.Load() && problem == "", Problem: problem,
		Mode: string(a.config.Mode), PodInterfaces: a.config.PodLinks, Policy: a.config.Policy,
		Implementation: string(a.device.Implementation()), Interface: a.config.Interface, PublicKey: a.key.Public(),
		ListenPort: a.config.ListenPort, PodCIDRs: a.result.Plan.Guard.Own, MeshAddresses: a.result.Plan.Guard.Mesh,
		Waiting: a.result.Waiting, Refused: a.result.Refusals, Lacking: a.lacking,
		MigrateFrom: a.config.MigrateFrom, InClear: a.result.InClear, InClearPackets: counters.InClear.Packets,
		StoppedBytes: counters.Clear.Bytes, StoppedPackets: counters.Clear.Packets,
	}
	for _, lane := range a.result.Plan.Lanes {
		status.MTU, status.Peers = lane.MTU, len(lane.Peers)
	}
	return status, nil
}

// Plan implements socket.Backend.
func (a *Agent) Plan() mesh.Plan {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.result.Plan
}

// Peers implements socket.Backend: what WireGuard has now, with node names for keys.
func (a *Agent) Peers() ([]socket.Peer, error) {
	if a.device == nil {
		return nil, errNoMesh
	}
	held, err := a.device.Peers()
	if err != nil {
		return nil, fmt.Errorf("reading the WireGuard device: %w", err)
	}
	names := make(map[identity.PublicKey]string, len(held))
	for _, lane := range a.Plan().Lanes {
		for _, p := range lane.Peers {
			names[p.PublicKey] = p.Node
		}
	}
	peers := make([]socket.Peer, 0, len(held))
	for _, p := range held {
		peers = append(peers, socket.Peer{
			Node: names[p.PublicKey], PublicKey: p.PublicKey, Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs,
			LastHandshake: p.LastHandshake, ReceiveBytes: p.ReceiveBytes, TransmitBytes: p.TransmitBytes,
		})
	}
	slices.SortFunc(peers, func(a, b socket.Peer) int { return cmp.Compare(a.Node, b.Node) })
	return peers, nil
}
