package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/warren-mesh/warren/internal/cni"
	"github.com/warren-mesh/warren/internal/cni/install"
	"github.com/warren-mesh/warren/internal/pods"
)

var (
	// errOthersPods is why nothing can be said of leases with MeshOnly.
	errOthersPods = errors.New("pods get their addresses from another plugin here (--mode=mesh or --mode=policy)")
	errNoGuard    = errors.New("the guard is not in the kernel")
)

// gate lets pods of another plugin start.
func (a *Agent) gate(_ context.Context, command cni.Command, r cni.Request) ([]byte, error) {
	guard := a.Plan().Guard
	gate := pods.Gate{Stands: a.stands, Own: guard.Own, Mesh: guard.Mesh, PodLinks: a.config.PodLinks, LinkTo: a.router.LinkTo}
	return gate.Call(command, r)
}

// stands is an error where the mesh could not carry what a pod sends, or the guard could not keep it from leaving in clear.
func (a *Agent) stands() error {
	if _, err := a.podNetwork(); err != nil {
		if problem := a.problem.String(); problem != "" {
			err = fmt.Errorf("%w: %s", err, problem)
		}
		return err
	}
	present, err := a.guard.Present()
	if err == nil && !present {
		err = errNoGuard
	}
	return err
}

// installGate puts the plugin on the node. To chain it is for whoever writes the other plugin's configuration: ours, from when the agent ran
// in another mode, would be in its place.
func (a *Agent) installGate() error {
	if a.residents.serving {
		return nil
	}
	if dir := a.config.CNIConfDir; dir != "" {
		removed, err := install.RemoveConflist(dir)
		for _, what := range removed {
			a.logger.Info("another plugin gives pods their network; removed the " + what)
		}
		if err != nil {
			return err
		}
	}
	if err := a.installPlugin(); err != nil {
		return err
	}
	a.residents.serving = true
	return nil
}
