package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/workqueue"
)

const (
	// grantReaders is how many Nodes are read at the same time.
	grantReaders = 4
	// grantRetryMin and grantRetryMax bound the wait before a Node is read again, which doubles each time that it has no pod CIDRs
	// yet or cannot be read: a cluster that gives out none must not be asked at every heartbeat.
	grantRetryMin = 5 * time.Millisecond
	grantRetryMax = time.Minute
)

// grantReader reads the pod CIDRs of Nodes that are new or had none. Until then a Node is one without a grant: it waits.
type grantReader struct {
	nodes   *nodeSet
	read    func(ctx context.Context, name string) (*seenNode, error)
	changed func()
	queue   workqueue.TypedRateLimitingInterface[string]
}

func newGrantReader(nodes *nodeSet, read func(context.Context, string) (*seenNode, error), changed func()) *grantReader {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](grantRetryMin, grantRetryMax)
	return &grantReader{nodes: nodes, read: read, changed: changed, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
}

// set takes a Node over, and asks for its pod CIDRs where they are not known.
func (g *grantReader) set(n *seenNode) bool {
	changed, lacks := g.nodes.set(n)
	if lacks {
		g.queue.AddRateLimited(n.Name)
	}
	return changed
}

// remove forgets a Node.
func (g *grantReader) remove(name string) bool {
	g.queue.Forget(name)
	return g.nodes.remove(name)
}

// run reads until ctx ends.
func (g *grantReader) run(ctx context.Context) {
	defer context.AfterFunc(ctx, g.queue.ShutDown)()
	for range grantReaders {
		go func() {
			for {
				name, shutdown := g.queue.Get()
				if shutdown {
					return
				}
				g.one(ctx, name)
				g.queue.Done(name)
			}
		}()
	}
	<-ctx.Done()
}

// one reads one Node, if its pod CIDRs are still not known.
func (g *grantReader) one(ctx context.Context, name string) {
	if !g.nodes.lacks(name) {
		g.queue.Forget(name)
		return
	}
	node, err := g.read(ctx, name)
	switch {
	case apierrors.IsNotFound(err): // the watch tells of it
		return
	case err != nil:
		if ctx.Err() == nil {
			utilruntime.HandleErrorWithContext(ctx, err, "A Node has no grants until it is read; trying again")
			g.queue.AddRateLimited(name)
		}
		return
	}
	if g.nodes.grant(node) {
		g.queue.Forget(name)
		g.changed()
	}
}
