package rollout

import (
	"fmt"
	"slices"
	"testing"

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
		t.Existing = desired(b, earlier)
		for _, f := range change {
			f(t.Existing)
		}
	}
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
	plan := Next(World{Bundle: web(), Targets: []Target{target(c, func(t *Target) { t.ValuesHash = "h" })}})
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
		names.LabelClusterNamespace: "fleet-default", names.LabelRepoName: "shop", names.LabelCommit: "c1",
	} {
		if bd.Labels[label] != want {
			t.Errorf("label %s is %q, want %q", label, bd.Labels[label], want)
		}
	}
}

func TestNextHoldsCurrentWhilePaused(t *testing.T) {
	paused := web(func(b *fleet.Bundle) { b.Spec.Paused = true })
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
