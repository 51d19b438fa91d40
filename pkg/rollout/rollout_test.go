package rollout

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func web(change ...func(*fleet.Bundle)) *fleet.Bundle {
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{
		Name: "web", Namespace: "fleet-default", Labels: map[string]string{names.LabelRepoName: "shop", names.LabelCommit: "c1"},
	}}
	for _, f := range change {
		f(b)
	}
	return b
}

func cluster(name string, change ...func(*fleet.Cluster)) *fleet.Cluster {
	c := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "fleet-default"}}
	c.Status.Namespace = names.ClusterNamespace(c.Namespace, c.Name)
	for _, f := range change {
		f(c)
	}
	return c
}

func announced(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.Now() }

func target(c *fleet.Cluster, change ...func(*Target)) Target {
	t := Target{Cluster: c, DeploymentID: "s-1:a", Options: fleet.BundleDeploymentOptions{DefaultNamespace: "web"}}
	for _, f := range change {
		f(&t)
	}
	return t
}

// deployed gives the target the deployment that an earlier plan has written.
func deployed(b *fleet.Bundle, change ...func(*fleet.BundleDeployment)) func(*Target) {
	return func(t *Target) {
		earlier := *t
		earlier.Existing = nil
		t.Existing = desired(b, &earlier)
		for _, f := range change {
			f(t.Existing)
		}
	}
}

func pausedBundle(b *fleet.Bundle)   { b.Spec.Paused = true }
func pausedCluster(c *fleet.Cluster) { c.Spec.Paused = true }

// newer and older change what the target should run.
func newer(t *Target) { t.DeploymentID, t.ValuesHash = "s-2:a", "new" }
func older(t *Target) { t.DeploymentID, t.ValuesHash = "s-1:a", "" }

// written has the target's deployment written as it is wanted now.
func written(b *fleet.Bundle) func(*Target) {
	return func(t *Target) { t.Existing = desired(b, t) }
}

// told reads a plan back as one line per step.
func told(p Plan) []string {
	var lines []string
	for verb, steps := range map[string][]Step{"create": p.Create, "update": p.Update, "hold": p.Hold} {
		for _, s := range steps {
			lines = append(lines, fmt.Sprintf("%s %s: %s", verb, s.Target.Cluster.Name, s.Reason))
		}
	}
	slices.Sort(lines)
	if p.Unchanged > 0 {
		lines = append(lines, fmt.Sprintf("unchanged %d", p.Unchanged))
	}
	return lines
}

func TestNext(t *testing.T) {
	now := metav1.Now()
	tests := []struct {
		name    string
		bundle  *fleet.Bundle
		targets []Target
		want    []string
	}{
		{name: "no targets, nothing to do", bundle: web()},
		{
			name: "all clusters at once", bundle: web(),
			targets: []Target{target(cluster("one")), target(cluster("two")), target(cluster("three"))},
			want:    []string{"create one: Missing", "create three: Missing", "create two: Missing"},
		},
		{
			name: "what is right is not written", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web()))},
			want:    []string{"unchanged 1"},
		},
		{
			name: "another deployment ID is a change", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web()), func(t *Target) { t.DeploymentID = "s-2:a" })},
			want:    []string{"update one: Changed"},
		},
		{
			name: "a label of the bundle is a setting", bundle: web(func(b *fleet.Bundle) { b.Labels["team"] = "a" }),
			targets: []Target{target(cluster("one"), deployed(web()))},
			want:    []string{"update one: Settings"},
		},
		{
			name: "the commit of the bundle alone is nothing to write for", bundle: web(func(b *fleet.Bundle) { b.Labels[names.LabelCommit] = "c2" }),
			targets: []Target{target(cluster("one"), deployed(web()))},
			want:    []string{"unchanged 1"},
		},
		{
			name: "a commit where none was is", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web(func(b *fleet.Bundle) { delete(b.Labels, names.LabelCommit) })))},
			want:    []string{"update one: Settings"},
		},
		{
			name: "a label that somebody else put on goes", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web(), func(bd *fleet.BundleDeployment) { bd.Labels["mine"] = "too" }))},
			want:    []string{"update one: Settings"},
		},
		{
			name: "options that somebody else wrote go, though the ID is right", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web(), func(bd *fleet.BundleDeployment) { bd.Spec.Options.DefaultNamespace = "mine" }))},
			want:    []string{"update one: Settings"},
		},
		{
			name: "a staged ID that somebody else wrote goes", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web(), func(bd *fleet.BundleDeployment) { bd.Spec.StagedDeploymentID = "mine" }))},
			want:    []string{"update one: Settings"},
		},
		{
			name: "a hash of values that somebody else wrote goes", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web(), func(bd *fleet.BundleDeployment) { bd.Spec.ValuesHash = "mine" }))},
			want:    []string{"update one: Settings"},
		},
		{
			name: "dependencies are settings", bundle: web(func(b *fleet.Bundle) { b.Spec.DependsOn = []fleet.BundleRef{{Name: "base"}} }),
			targets: []Target{target(cluster("one"), deployed(web()))},
			want:    []string{"update one: Settings"},
		},
		{
			name: "drift correction is a setting", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web()), func(t *Target) { t.Options.CorrectDrift = &fleet.CorrectDrift{Enabled: true} })},
			want:    []string{"update one: Settings"},
		},
		{
			name: "drift correction that somebody else wrote goes", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web(), func(bd *fleet.BundleDeployment) { bd.Spec.CorrectDrift = &fleet.CorrectDrift{Enabled: true} }))},
			want:    []string{"update one: Settings"},
		},
		{
			name: "forcing a sync is a change like any other", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web()), func(t *Target) {
				t.Options.ForceSyncGeneration, t.DeploymentID = 1, "s-1:b"
			})},
			want: []string{"update one: Changed"},
		},
		{
			name: "pausing the bundle tells every agent", bundle: web(pausedBundle),
			targets: []Target{target(cluster("one"), deployed(web())), target(cluster("two"))},
			want:    []string{"create two: Missing", "update one: Settings"},
		},
		{
			name: "pausing a cluster tells its agent", bundle: web(),
			targets: []Target{target(cluster("one", pausedCluster), func(t *Target) { *t = target(t.Cluster, deployed(web())); t.Existing.Spec.Paused = false }), target(cluster("two"), deployed(web()))},
			want:    []string{"update one: Settings", "unchanged 1"},
		},
		{
			name: "what is new is staged while paused", bundle: web(pausedBundle),
			targets: []Target{target(cluster("one"), deployed(web()), newer)},
			want:    []string{"update one: Staged"},
		},
		{
			name: "what is staged waits to be resumed", bundle: web(pausedBundle),
			targets: []Target{target(cluster("one"), deployed(web()), newer, written(web(pausedBundle)))},
			want:    []string{"hold one: Paused"},
		},
		{
			name: "resumed it moves", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web()), newer, written(web(pausedBundle)))},
			want:    []string{"update one: Changed"},
		},
		{
			name: "what was staged and is not wanted any more is taken back", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web()), newer, written(web(pausedBundle)), older)},
			want:    []string{"update one: Settings"},
		},
		{
			name: "a paused cluster waits though the bundle does not", bundle: web(),
			targets: []Target{target(cluster("one", pausedCluster), deployed(web()), newer, written(web())), target(cluster("two"), deployed(web()), newer)},
			want:    []string{"hold one: Paused", "update two: Changed"},
		},
		{
			name: "other copies are a change like any other", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web()), func(t *Target) { t.Copies = "c1" })},
			want:    []string{"update one: Changed"},
		},
		{
			name: "the same copies are not", bundle: web(),
			targets: []Target{target(cluster("one"), func(t *Target) { t.Copies = "c1" }, deployed(web()))},
			want:    []string{"unchanged 1"},
		},
		{
			name: "other copies wait while paused", bundle: web(pausedBundle),
			targets: []Target{target(cluster("one"), deployed(web()), written(web(pausedBundle)), func(t *Target) { t.Copies = "c1" })},
			want:    []string{"hold one: Paused"},
		},
		{
			name: "no copies any more is a change", bundle: web(),
			targets: []Target{target(cluster("one"), func(t *Target) { t.Copies = "c1" }, deployed(web()), func(t *Target) { t.Copies = "" })},
			want:    []string{"update one: Changed"},
		},
		{
			name: "an agent that announces itself gets a finalizer to confirm", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web()), func(t *Target) { t.Cluster = cluster("one", announced) })},
			want:    []string{"update one: Settings"},
		},
		{
			name: "a broken template stays with its cluster", bundle: web(),
			targets: []Target{target(cluster("bad"), func(t *Target) { t.Problem = "no such label" }), target(cluster("good"))},
			want:    []string{"create good: Missing", "hold bad: InvalidOptions"},
		},
		{
			name: "a cluster without a namespace waits for it", bundle: web(),
			targets: []Target{target(cluster("new", func(c *fleet.Cluster) { c.Status.Namespace = "" }))},
			want:    []string{"hold new: ClusterNotReady"},
		},
		{
			name: "a cluster that leaves gets nothing any more", bundle: web(),
			targets: []Target{target(cluster("old", func(c *fleet.Cluster) { c.DeletionTimestamp = &now }))},
			want:    []string{"hold old: ClusterLeaving"},
		},
		{
			name: "a deployment being removed is waited for", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web(), func(bd *fleet.BundleDeployment) { bd.DeletionTimestamp = &now }))},
			want:    []string{"hold one: Removing"},
		},
		{
			name: "another workspace's bundle of the same name keeps its deployment", bundle: web(),
			targets: []Target{target(cluster("one"), deployed(web(func(b *fleet.Bundle) { b.Namespace = "other" })))},
			want:    []string{"hold one: NameConflict"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := told(Next(World{Bundle: tt.bundle, Targets: tt.targets}))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestNextWritesStagedAndCurrent(t *testing.T) {
	c := cluster("one", announced)
	labelled := web(func(b *fleet.Bundle) { b.Labels["team"] = "a" })
	plan := Next(World{Bundle: labelled, Targets: []Target{target(c, func(t *Target) { t.ValuesHash = "h" })}})
	bd := plan.Create[0].Deployment
	if bd.Name != "web" || bd.Namespace != names.ClusterNamespace("fleet-default", "one") {
		t.Errorf("deployment is %s/%s", bd.Namespace, bd.Name)
	}
	if bd.Spec.DeploymentID != "s-1:a" || bd.Spec.StagedDeploymentID != "s-1:a" || bd.Spec.ValuesHash != "h" {
		t.Errorf("deployment runs %+v", bd.Spec)
	}
	if !slices.Equal(bd.Finalizers, []string{names.FinalizerDeployment}) {
		t.Errorf("finalizers are %q", bd.Finalizers)
	}
	for label, want := range map[string]string{
		names.LabelBundleName: "web", names.LabelBundleNamespace: "fleet-default", names.LabelCluster: "one",
		names.LabelClusterNamespace: "fleet-default", names.LabelRepoName: "shop", names.LabelCommit: "c1", "team": "a",
	} {
		if bd.Labels[label] != want {
			t.Errorf("label %s is %q, want %q", label, bd.Labels[label], want)
		}
	}
}

func TestNextHoldsCurrentWhilePaused(t *testing.T) {
	paused := web(pausedBundle)
	plan := Next(World{Bundle: paused, Targets: []Target{
		target(cluster("one"), deployed(web()), func(t *Target) { t.DeploymentID = "s-2:a"; t.ValuesHash = "new" }),
	}})
	if len(plan.Update) != 1 {
		t.Fatalf("plan is %q", told(plan))
	}
	spec := plan.Update[0].Deployment.Spec
	if spec.StagedDeploymentID != "s-2:a" || spec.DeploymentID != "s-1:a" || spec.ValuesHash != "" || !spec.Paused {
		t.Errorf("a paused deployment is staged and stays current, got %+v", spec)
	}
}

func TestNextKeepsTheAgentsStatus(t *testing.T) {
	plan := Next(World{Bundle: web(), Targets: []Target{target(cluster("one"),
		deployed(web(), func(bd *fleet.BundleDeployment) { bd.Status.AppliedDeploymentID = "s-1:a" }),
		func(t *Target) { t.DeploymentID = "s-2:a" })}})
	if got := plan.Update[0].Deployment.Status.AppliedDeploymentID; got != "s-1:a" {
		t.Errorf("applied ID became %q", got)
	}
}

func TestCopiesAreCounted(t *testing.T) {
	at := target(cluster("one"))
	for i, copies := range []string{"", "c1", "c1", "c2", "", "c2"} {
		at.Copies = copies
		at.Existing = desired(web(), &at)
		if want := []int64{0, 1, 1, 2, 3, 4}[i]; at.Existing.Spec.DownstreamResourcesGeneration != want || copiesOf(at.Existing) != copies {
			t.Errorf("%d: generation %d with %q, want %d with %q", i, at.Existing.Spec.DownstreamResourcesGeneration, copiesOf(at.Existing), want, copies)
		}
	}
	paused := at
	paused.Copies = "c3"
	if bd := desired(web(pausedBundle), &paused); bd.Spec.DownstreamResourcesGeneration != 4 || copiesOf(bd) != "c2" {
		t.Errorf("while paused: generation %d with %q", bd.Spec.DownstreamResourcesGeneration, copiesOf(bd))
	}
}

func TestInputsSecret(t *testing.T) {
	at := target(cluster("one"), func(t *Target) { t.Copies = "c1" })
	running := desired(web(), &at)
	in := Inputs{Values: []byte("v1"), Copies: []byte("copies 1"), CopiesDigest: "c1"}
	next := Inputs{Values: []byte("v2"), Copies: []byte("copies 2"), CopiesDigest: "c2"}
	before := InputsSecret(web(), running, in, nil).Data
	staged := at
	staged.Existing, staged.DeploymentID, staged.Copies = running, "s-2:a", "c2"
	waiting := desired(web(pausedBundle), &staged)
	for name, tt := range map[string]struct {
		bd     *fleet.BundleDeployment
		in     Inputs
		before map[string][]byte
		want   string
	}{
		"what runs":                     {running, in, nil, "map[downstreamResources:copies 1 stagedValues:v1 values:v1]"},
		"values alone":                  {desired(web(), &Target{Cluster: at.Cluster}), Inputs{Values: []byte("v1")}, nil, "map[stagedValues:v1 values:v1]"},
		"nothing any more":              {desired(web(), &Target{Cluster: at.Cluster}), Inputs{}, before, "map[]"},
		"paused: what runs stays":       {waiting, next, before, "map[downstreamResources:copies 1 stagedValues:v2 values:v1]"},
		"paused: what runs is restored": {desired(web(pausedBundle), &Target{Cluster: at.Cluster, Existing: running, DeploymentID: "s-1:a", Copies: "c1"}), in, nil, "map[downstreamResources:copies 1 stagedValues:v1 values:v1]"},
	} {
		if got := fmt.Sprintf("%s", InputsSecret(web(), tt.bd, tt.in, tt.before).Data); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestHolds(t *testing.T) {
	bd := &fleet.BundleDeployment{}
	bd.Spec.ValuesHash = "4c94485e0c21ae6c41ce1dfe7b6bfaceea5ab68e40a2476f50208e526f506080" // of "v"
	secret := InputsSecret(web(), bd, Inputs{Values: []byte("v")}, nil)
	silent := secret.DeepCopy()
	silent.Annotations = nil
	other := bd.DeepCopy()
	other.Annotations = map[string]string{names.AnnotationDownstreamResources: "c1"}
	newer := bd.DeepCopy()
	newer.Spec.ValuesHash = "another"
	for name, tt := range map[string]struct {
		secret *corev1.Secret
		bd     *fleet.BundleDeployment
		want   bool
	}{
		"what it was written for": {secret, bd, true}, "other values": {secret, newer, false}, "copies, which it has not": {secret, other, false},
		"it says nothing": {silent, newer, true}, "it says nothing, and has no copies": {silent, other, false},
	} {
		if got := Holds(tt.secret, tt.bd); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
