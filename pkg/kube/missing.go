package kube

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// askAgain is how often AwaitNothingMissing looks.
const askAgain = 500 * time.Millisecond

// AwaitNothingMissing looks until nothing is missing. When ctx ends before, it
// returns what was missing last. It is for those who ask once, as a person or a
// test does, with rights to read but not to watch: what works here all the time
// waits for events.
func AwaitNothingMissing(ctx context.Context, look func(context.Context) error) error {
	missing := errors.New("nothing was found out")
	_ = wait.PollUntilContextCancel(ctx, askAgain, true, func(ctx context.Context) (bool, error) {
		found := look(ctx)
		if found == nil || ctx.Err() == nil {
			missing = found // What the end of ctx cut short knows less than what came before.
		}
		return found == nil, nil
	})
	return missing
}
