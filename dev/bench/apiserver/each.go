package apiserver

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// AtOnce is how many requests a bench makes at once where that is not what is measured.
const AtOnce = 32

// Each calls do for 0 to n-1, as many at once as there are workers, and returns the first error; the rest is not begun then.
func Each(ctx context.Context, workers, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}
