package command

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Each does something for the numbers below count, limit of them at once, until one fails.
func Each(ctx context.Context, limit, count int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for i := range count {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}
