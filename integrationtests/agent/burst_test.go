package agent

import (
	"fmt"
	"testing"
	"time"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	pkgkube "github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// What was untargeted while the agent was away is removed in one go when it is
// back: none waits for another, but for those that another depends on.
func TestManyRemovalsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.start()
	const count = 50
	var keys []pkgkube.Key
	for i := range count {
		name := fmt.Sprintf("app-%02d", i)
		app := manifest(map[string]string{"a.yaml": configMapYAML(name, "1"), "b.yaml": configMapYAML(name+"-b", "1")})
		if i%10 == 9 {
			app = app.with(func(bd *fleet.BundleDeployment) {
				bd.Spec.DependsOn = []fleet.BundleRef{{Name: fmt.Sprintf("app-%02d", i-1)}}
			})
		}
		keys = append(keys, w.deploy(name, app))
	}
	for _, key := range keys {
		w.awaitReady(key)
	}
	w.stop()
	for _, key := range keys {
		env.BundleDeployments.Remove(t, key)
	}
	begun := time.Now()
	w.start()
	for _, key := range keys {
		env.BundleDeployments.Await(t, key, func(bd *fleet.BundleDeployment) error {
			if !status.IsTrue(bd.Status.Conditions, fleet.ConditionRemoved) {
				return fmt.Errorf("it is not removed")
			}
			return nil
		})
	}
	t.Logf("%d removals were done %s after the agent was started", count, time.Since(begun).Round(time.Millisecond))
	if left := w.records(w.target); len(left) > 0 {
		t.Errorf("%d records are left", len(left))
	}
	for _, key := range keys {
		w.unpin(key)
	}
}
