package agent

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/warren-mesh/warren/internal/kube"
	"github.com/warren-mesh/warren/ipam"
)

// errNotTold is why a node claims nothing before it knows who has what.
var errNotTold = fmt.Errorf("%w: the API server has not told of all pools and blocks yet", ipam.ErrLater)

// podSource says where a pod's addresses come from, by what it and its namespace say.
func (a *Agent) podSource(ctx context.Context, pod ipam.Pod) (ipam.Source, error) {
	wish, err := a.wish(ctx, pod)
	if err != nil {
		return nil, err
	}
	return ipam.Pools{Wish: wish, Supply: a.holdings.keeper.Supply}, nil
}

// wish is what a pod asks for. Without the API server a pod gets addresses as one that asks for nothing, but not where it could be of a
// namespace that is bound to a pool: a segment with others in it is none.
func (a *Agent) wish(ctx context.Context, pod ipam.Pod) (ipam.Wish, error) {
	if pod.Name == "" {
		return ipam.Wish{}, nil // It is not of Kubernetes.
	}
	metadata, err := a.kube.PodMetadata(ctx, pod)
	switch {
	case err == nil:
		return ipam.ParseWish(metadata)
	case errors.Is(err, kube.ErrPodGone) || a.holdings.keeper.Held().Binds():
		return ipam.Wish{}, fmt.Errorf("%w: %w", ipam.ErrLater, err)
	}
	a.logger.Warn("a pod gets addresses as one that asks for nothing", zap.String("namespace", pod.Namespace), zap.String("pod", pod.Name), zap.Error(err))
	return ipam.Wish{}, nil
}

// grow gets the node a block for a pod that finds nothing free.
func (a *Agent) grow(ctx context.Context, o ipam.Offer) error {
	if !a.holdings.running.Load() {
		return errNotTold
	}
	return a.holdings.keeper.Grow(ctx, o)
}
