package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/workqueue"
)

const (
	// readers is how many Nodes are read at the same time.
	readers = 4
	// readRetryFailed is the wait after a read that failed.
	readRetryFailed = time.Second
	// readRetryMin and readRetryMax bound the wait before a Node is read again that still lacks something, which doubles each time: one
	// that never has an agent must not be read at every heartbeat.
	readRetryMin = 5 * time.Millisecond
	readRetryMax = 30 * time.Minute
)

// nodeReader reads whole what is to be: Nodes that are new or have no pod CIDRs or no claim yet, and those of which the streams say what may be old.
type nodeReader struct {
	nodes   *nodeSet
	read    func(ctx context.Context, name string) (*seenNode, error)
	changed func()
	queue   workqueue.TypedRateLimitingInterface[string]
}

func newNodeReader(nodes *nodeSet, read func(context.Context, string) (*seenNode, error), changed func()) *nodeReader {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](readRetryMin, readRetryMax)
	return &nodeReader{nodes: nodes, read: read, changed: changed, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
}

// set takes over what was told of a Node, and asks for it whole where that is needed.
func (r *nodeReader) set(n *seenNode) bool {
	changed, ask := r.nodes.set(n)
	if ask {
		r.queue.AddRateLimited(n.Name)
	}
	return changed
}

// remove forgets a Node.
func (r *nodeReader) remove(name string) bool {
	r.queue.Forget(name)
	return r.nodes.remove(name)
}

// run reads until ctx ends.
func (r *nodeReader) run(ctx context.Context) {
	defer context.AfterFunc(ctx, r.queue.ShutDown)()
	for range readers {
		go func() {
			for {
				name, shutdown := r.queue.Get()
				if shutdown {
					return
				}
				r.one(ctx, name)
				r.queue.Done(name)
			}
		}()
	}
	<-ctx.Done()
}

// one reads one Node, if that is still asked for.
func (r *nodeReader) one(ctx context.Context, name string) {
	asked := r.nodes.asked(name)
	if asked == nil {
		r.queue.Forget(name)
		return
	}
	node, err := r.read(ctx, name)
	if err != nil && !apierrors.IsNotFound(err) {
		if ctx.Err() == nil {
			utilruntime.HandleErrorWithContext(ctx, err, "A Node is not known, or not as it is now, until it is read; trying again")
			r.queue.AddAfter(name, readRetryFailed)
		}
		return
	}
	changed, again := r.nodes.answer(asked, node)
	switch {
	case again:
		r.queue.AddRateLimited(name)
	case node == nil || !node.held().waits():
		r.queue.Forget(name)
	}
	if changed {
		r.changed()
	}
}
