package playground

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// What drifts, in a bundle each: of the one the drift is reported, of the other it is put right.
const (
	reported  = "reported"
	corrected = "corrected"
	// drifting is the cluster where they drift.
	drifting = "downstream-2"
	// asCommitted is what they say when they are as they should be.
	asCommitted = "0"
)

// correctedIn returns the ConfigMap that is put right in a round. Each round has one of its own: what is changed back again
// and again is made to wait.
func correctedIn(round int) string { return fmt.Sprintf("%s-%d", corrected, round) }

// Drift edits and deletes what was deployed, again and again.
func Drift(ctx context.Context, s Settings) (*figures.Report, error) {
	return s.run(ctx, measureDrift)
}

// drift is a measurement.
type drift struct {
	*world
	names   []string
	samples map[string]*figures.Samples
}

func measureDrift(ctx context.Context, w *world) (*figures.Report, error) {
	d := &drift{world: w, samples: map[string]*figures.Samples{}}
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	report := &figures.Report{}
	var err error
	for i := 0; i < w.Rounds && err == nil; i++ {
		err = d.round(ctx, i)
	}
	for _, name := range d.names {
		m := figures.Of(name, *d.samples[name], figures.Milliseconds)
		m.Target = "< 300 ms"
		report.Add(m)
	}
	return report, err
}

// prepare deploys both bundles to both clusters.
func (d *drift) prepare(ctx context.Context) error {
	d.workloads = []string{reported}
	files := map[string]string{
		reported + "/configmap.yaml": manifest(reported, asCommitted),
		reported + "/fleet.yaml":     "defaultNamespace: " + namespace + "\n",
		corrected + "/fleet.yaml":    "defaultNamespace: " + namespace + "\ncorrectDrift:\n  enabled: true\n",
	}
	for i := range d.Rounds {
		d.workloads = append(d.workloads, correctedIn(i))
		files[corrected+"/"+correctedIn(i)+".yaml"] = manifest(correctedIn(i), asCommitted)
	}
	if _, err := d.repo.Commit(ctx, repo.Change{Message: "Drift", Replace: true, Write: files}); err != nil {
		return err
	}
	if err := d.create(ctx, quietPolling); err != nil {
		return err
	}
	_, err := d.log.await(ctx, "gitrepo", "4/4")
	return err
}

// round has both drift in every way, one after the other.
func (d *drift) round(ctx context.Context, round int) error {
	for _, step := range []struct {
		name string
		do   func(ctx context.Context, round int) error
	}{
		{"deleted", d.deleted}, {"edited", d.edited}, {"edited, to be put right", d.editedBack}, {"deleted, to be put right", d.deletedBack},
	} {
		if err := step.do(ctx, round); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// edited edits what nobody puts right, and puts it right.
func (d *drift) edited(ctx context.Context, round int) error {
	start := time.Now()
	if err := d.says(ctx, reported, edit(round)); err != nil {
		return err
	}
	if err := d.hubSays(ctx, start, "edited", verdict{fleet.Modified, "1"}); err != nil {
		return err
	}
	start = time.Now()
	if err := d.says(ctx, reported, asCommitted); err != nil {
		return err
	}
	return d.hubSays(ctx, start, "put back by hand", verdict{fleet.Ready, "0"})
}

// deleted deletes what nobody puts right, and makes it again.
func (d *drift) deleted(ctx context.Context, _ int) error {
	live, err := d.clusters[drifting].Get(ctx, namespace, reported)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := d.clusters[drifting].Delete(ctx, live); err != nil {
		return err
	}
	if err := d.hubSays(ctx, start, "deleted", verdict{fleet.Modified, "1"}); err != nil {
		return err
	}
	again := &corev1.ConfigMap{Data: live.Data}
	again.Namespace, again.Name, again.Labels, again.Annotations = live.Namespace, live.Name, live.Labels, live.Annotations
	start = time.Now()
	if _, err := d.clusters[drifting].Create(ctx, again); err != nil {
		return err
	}
	return d.hubSays(ctx, start, "made again by hand", verdict{fleet.Ready, "0"})
}

// editedBack edits what is put right.
func (d *drift) editedBack(ctx context.Context, round int) error {
	start := time.Now()
	if err := d.says(ctx, correctedIn(round), edit(round)); err != nil {
		return err
	}
	return d.restored(ctx, start, correctedIn(round), "edited → restored")
}

// deletedBack deletes what is put right.
func (d *drift) deletedBack(ctx context.Context, round int) error {
	live, err := d.clusters[drifting].Get(ctx, namespace, correctedIn(round))
	if err != nil {
		return err
	}
	start := time.Now()
	if err := d.clusters[drifting].Delete(ctx, live); err != nil {
		return err
	}
	return d.restored(ctx, start, correctedIn(round), "deleted → restored")
}

// restored waits until the object is as it should be again, and the hub calm.
func (d *drift) restored(ctx context.Context, start time.Time, name, what string) error {
	at, err := d.log.awaitSince(ctx, start, workloadOn(drifting, name), asCommitted)
	if err != nil {
		return err
	}
	d.add(what, at.Sub(start))
	if _, err := d.log.await(ctx, state(corrected), string(fleet.Ready)); err != nil {
		return err
	}
	_, err = d.log.await(ctx, modified(corrected), "0")
	return err
}

// verdict is what the hub says: in which state the deployment is, and how many modified ones the bundle counts.
type verdict struct {
	state fleet.BundleState
	count string
}

// hubSays waits until the deployment is in a state, and the bundle counts it.
func (d *drift) hubSays(ctx context.Context, start time.Time, what string, wanted verdict) error {
	at, err := d.log.awaitSince(ctx, start, state(reported), string(wanted.state))
	if err != nil {
		return err
	}
	d.add(fmt.Sprintf("%s → deployment says %s", what, wanted.state), at.Sub(start))
	if at, err = d.log.awaitSince(ctx, start, modified(reported), wanted.count); err != nil {
		return err
	}
	d.add(fmt.Sprintf("%s → bundle counts %s modified", what, wanted.count), at.Sub(start))
	return nil
}

// add notes a figure; measures are shown in the order in which they came first.
func (d *drift) add(name string, took time.Duration) {
	if d.samples[name] == nil {
		d.names, d.samples[name] = append(d.names, name), &figures.Samples{}
	}
	d.samples[name].Add(took)
}

// says edits a ConfigMap, as somebody would who does not know where it comes from.
func (d *drift) says(ctx context.Context, name, round string) error {
	kind := d.clusters[drifting]
	for {
		before, err := kind.Get(ctx, namespace, name)
		if err != nil {
			return err
		}
		after := before.DeepCopy()
		after.Data["round"] = round
		if _, err = kind.Patch(ctx, before, after); !apierrors.IsConflict(err) {
			return err
		}
	}
}

func edit(round int) string { return fmt.Sprintf("edited-%d", round) }

func state(folder string) string {
	return "state/" + names.Bundle(repoName, folder) + "/" + drifting
}

func modified(folder string) string { return "modified/" + names.Bundle(repoName, folder) }
