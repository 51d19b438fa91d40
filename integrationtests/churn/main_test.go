// Package churn does to a hub, in random order, whatever users, agents, machines and networks do, and checks after every settling
// that the invariants of the design hold:
//
//  1. no deployment remains for a bundle and a cluster that do not match, but for those that are listed as held, or as being
//     removed by an agent that is away;
//  2. no deployment that matches was ever deleted;
//  3. no failure, restart or stale read removes anything;
//  4. one bad input never delays the others;
//  5. nothing is written any more.
package churn

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

var (
	env *harness.Environment

	duration = flag.Duration("churn.duration", 0, "how long to churn; 0 is 50 s with -short, else 5 min")
	seed     = flag.Uint64("churn.seed", 0, "seed of the random churn; 0 is a fixed one with -short, else a new one")
)

func TestMain(m *testing.M) {
	if err := harness.Silence(); err != nil {
		panic(err)
	}
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

func lasting() time.Duration {
	switch {
	case *duration != 0:
		return *duration
	case testing.Short():
		return 50 * time.Second
	}
	return 5 * time.Minute
}

func seeded() uint64 {
	switch {
	case *seed != 0:
		return *seed
	case testing.Short():
		return 1
	}
	return uint64(time.Now().UnixNano())
}
