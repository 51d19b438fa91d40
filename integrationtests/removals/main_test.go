// Package removals tests every way out: how a deployment loses its reason to
// exist, what goes with it and what stays, and what only looks like a way out.
// The hub, the manager, the agents and their clusters are real: a hub and two
// downstream clusters, each with an API server and an etcd of its own. Every
// test has a workspace, clusters and agents of its own; an agent lives in a
// namespace of its own downstream.
package removals

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

// hub holds the workspaces, downstream run the workloads.
var (
	hub        *harness.Environment
	downstream [2]*harness.Environment
)

// atOnce is how many tests run at once. They mostly wait.
const atOnce = "6"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 1
	err := startAll(ctx)
	if err == nil {
		code = m.Run()
	}
	if err = errors.Join(err, stopAll(code == 0)); err != nil {
		fmt.Fprintln(os.Stderr, "the environments of the tests:", err)
		return 1
	}
	return code
}

func startAll(ctx context.Context) error {
	var group errgroup.Group
	for _, at := range []**harness.Environment{&hub, &downstream[0], &downstream[1]} {
		group.Go(func() (err error) {
			*at, err = harness.Start(ctx, harness.Options{})
			return err
		})
	}
	return group.Wait()
}

func stopAll(clean bool) error {
	var all []error
	for _, e := range []*harness.Environment{hub, downstream[0], downstream[1]} {
		if e != nil {
			all = append(all, e.Stop(clean))
		}
	}
	return errors.Join(all...)
}
