package agent

import (
	"errors"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/internal/survey"
)

// IPAM implements socket.Backend.
func (a *Agent) IPAM() (socket.IPAM, error) {
	if a.residents.broken != nil {
		return socket.IPAM{}, a.residents.broken
	}
	if _, err := a.podNetwork(); err != nil {
		return socket.IPAM{}, err
	}
	return socket.IPAM{Node: a.config.NodeName, Uses: a.poolUses()}, nil
}

// CheckIPAM implements socket.Backend.
func (a *Agent) CheckIPAM() ([]survey.Finding, error) {
	if a.residents.broken != nil {
		return nil, a.residents.broken
	}
	network, err := a.podNetwork()
	if err != nil && !errors.Is(err, errNotMeshed) {
		return nil, err
	}
	node, err := a.residents.pods.Survey(network.CIDRs)
	if err != nil {
		return nil, err
	}
	return node.Check(), nil
}

// Release implements socket.Backend.
func (a *Agent) Release(r socket.Release) (socket.Released, error) {
	if a.residents.broken != nil {
		return socket.Released{}, a.residents.broken
	}
	whose, err := a.residents.pods.Release(r.Address, r.Force)
	if err != nil {
		return socket.Released{}, err
	}
	a.logger.Info("released an address, by the command line", zap.Stringer("address", r.Address), zap.String("from", whose), zap.Bool("force", r.Force))
	return socket.Released{From: whose}, nil
}
