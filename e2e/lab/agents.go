package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// StartAgents starts the agents of all nodes that have none, and waits until all are ready and have each other for peers.
func (l *Lab) StartAgents(ctx context.Context) error {
	l.say("agents: starting")
	nodes := l.Nodes()
	group, groupCtx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		group.Go(func() error {
			if !n.AgentRunning() {
				if err := n.StartAgent(groupCtx); err != nil {
					return err
				}
			}
			return n.WaitReady(groupCtx)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	l.say("agents: ready")
	for _, n := range nodes {
		if err := n.WaitPeers(ctx, len(nodes)-1); err != nil {
			return err
		}
	}
	l.say("agents: all nodes are peers")
	return nil
}

// WaitPeers waits until the node's WireGuard has at least so many peers, for a minute at most.
func (n *Node) WaitPeers(ctx context.Context, count int) error {
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(readyPatience))
	defer cancel()
	for {
		out, err := n.Run(ctx, "wg", "show", "all", "peers")
		if err == nil && strings.Count(out, "\n") >= count {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("it has %d", strings.Count(out, "\n"))
			}
			return fmt.Errorf("waiting for %d peers on %s: %w%s", count, n.Name, err, n.logTail())
		case <-time.After(25 * time.Millisecond):
		}
	}
}
