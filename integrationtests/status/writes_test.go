package status

import (
	"fmt"
	"testing"
	"time"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// However many deployments change, their bundle is written once per window, and the windows grow.
func TestAStormOfReportsIsFewWrites(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	var clusters []kube.Key
	for i := range 10 {
		clusters = append(clusters, cluster(t, ws, fmt.Sprint("c", i), nil))
	}
	key := bundle(t, ws, "web")
	for _, c := range clusters {
		answer(t, key, c)
	}
	awaitSummary(t, key, len(clusters), 0, len(clusters))

	before := env.AwaitQuiet(t)
	started := time.Now()
	const rounds = 20
	for i := range rounds {
		for _, c := range clusters {
			env.BundleDeployments.EditStatus(t, deployment(key, c), func(bd *fleet.BundleDeployment) {
				ready(bd)
				bd.Status.Ready = i%2 == 1
			})
		}
	}
	took := time.Since(started)
	awaitSummary(t, key, len(clusters), 0, len(clusters))
	writes := env.AwaitQuiet(t).Since(before)
	t.Logf("%d reports in %s: %v", rounds*len(clusters), took, writes)

	// How many exactly depends on how fast the reports come; the tests of the queue's windows count them by a clock of
	// their own.
	if most := rounds * len(clusters) / 5; writes["PATCH bundles/status"] > most {
		t.Errorf("the bundle was written %d times, want at most %d", writes["PATCH bundles/status"], most)
	}
	if reports := writes["PATCH bundledeployments/status"]; writes["PATCH clusters/status"] > reports {
		t.Errorf("clusters were written %d times for %d reports", writes["PATCH clusters/status"], reports)
	}
}

// A change of which no status shows anything is written nowhere, and neither is what comes to the same in the end.
func TestWhatDoesNotShowIsNotWritten(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	on := cluster(t, ws, "c", nil)
	key := bundle(t, ws, "web")
	answer(t, key, on)
	awaitSummary(t, key, 1, 0, 1)

	before := env.AwaitQuiet(t)
	const changes = 5
	for i := range changes {
		env.BundleDeployments.EditStatus(t, deployment(key, on), func(bd *fleet.BundleDeployment) {
			generation := int64(i)
			bd.Status.SyncGeneration, bd.Status.Release = &generation, fmt.Sprint("web:", i)
		})
	}
	writes := env.AwaitQuiet(t).Since(before)
	if writes["PATCH bundledeployments/status"] != changes || len(writes) != 1 {
		t.Errorf("writes: %v", writes)
	}
}

// A status that somebody else has written over is put right.
func TestForeignStatusIsPutRight(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	on := cluster(t, ws, "c", nil)
	key := bundle(t, ws, "web")
	answer(t, key, on)
	awaitSummary(t, key, 1, 0, 1)
	env.AwaitQuiet(t)
	env.Bundles.EditStatus(t, key, func(b *fleet.Bundle) { b.Status.Summary = fleet.BundleSummary{Ready: 7, DesiredReady: 7} })
	awaitSummary(t, key, 1, 0, 1)
}
