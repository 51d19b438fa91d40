package bundleset

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// read is a bundle as a commit gives it.
func read(name, content string) *fleet.Bundle {
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "ws",
		Labels:      map[string]string{names.LabelRepoName: "shop", names.LabelCommit: "c2"},
		Annotations: map[string]string{names.AnnotationPath: "apps/" + name},
	}}
	b.Spec.Resources = []fleet.BundleResource{{Name: "a.yaml", Content: content}}
	return b
}

// stored is a bundle as an earlier commit has written it.
func stored(name, content string, change ...func(*fleet.Bundle)) *fleet.Bundle {
	b := read(name, content)
	b.Labels[names.LabelCommit] = "c1"
	b.Finalizers = []string{names.FinalizerBundle}
	b.Generation = 1
	for _, f := range change {
		f(b)
	}
	return b
}

func told(p Plan) []string {
	var lines []string
	for _, b := range p.Create {
		lines = append(lines, "create "+b.Name)
	}
	for _, c := range p.Update {
		lines = append(lines, fmt.Sprintf("update %s to %s", c.After.Name, c.After.Labels[names.LabelCommit]))
	}
	for _, c := range p.Gone {
		lines = append(lines, fmt.Sprintf("gone %s at %s", c.After.Name, c.After.Annotations[names.AnnotationGone]))
	}
	for _, b := range p.Kept {
		lines = append(lines, "keep "+b.Name)
	}
	for _, r := range p.Refused {
		lines = append(lines, "refuse "+r.Bundle.Name)
	}
	if p.Unchanged > 0 {
		lines = append(lines, fmt.Sprintf("unchanged %d", p.Unchanged))
	}
	return lines
}

func TestNext(t *testing.T) {
	now := metav1.Now()
	tests := []struct {
		name     string
		desired  []*fleet.Bundle
		existing []*fleet.Bundle
		others   []*fleet.Bundle // bundles of the namespace that are not the GitRepo's
		failed   []string
		empty    []string
		want     []string
	}{
		{
			name:    "first commit",
			desired: []*fleet.Bundle{read("api", "x"), read("web", "x")},
			want:    []string{"create api", "create web"},
		},
		{
			name:     "a commit that changes one bundle writes one bundle",
			desired:  []*fleet.Bundle{read("api", "x"), read("web", "y")},
			existing: []*fleet.Bundle{stored("api", "x"), stored("web", "x")},
			want:     []string{"update web to c2", "unchanged 1"},
		},
		{
			name:     "folder gone",
			desired:  []*fleet.Bundle{read("api", "x")},
			existing: []*fleet.Bundle{stored("api", "x"), stored("web", "x")},
			want:     []string{"gone web at c2", "unchanged 1"},
		},
		{
			name:     "folder gone and already marked",
			existing: []*fleet.Bundle{stored("web", "x", func(b *fleet.Bundle) { b.Annotations[names.AnnotationGone] = "c1" })},
		},
		{
			name:     "folder back before the bundle went",
			desired:  []*fleet.Bundle{read("web", "x")},
			existing: []*fleet.Bundle{stored("web", "x", func(b *fleet.Bundle) { b.Annotations[names.AnnotationGone] = "c1" })},
			want:     []string{"update web to c2"},
		},
		{
			name:     "a folder that cannot be read keeps its own bundle only",
			desired:  []*fleet.Bundle{read("api", "x")},
			existing: []*fleet.Bundle{stored("api", "x"), stored("old", "x"), stored("web", "x")},
			failed:   []string{"apps/web"},
			want:     []string{"gone old at c2", "keep web", "unchanged 1"},
		},
		{
			name:     "a new folder that cannot be read may be the new home of any bundle",
			desired:  []*fleet.Bundle{read("api", "x")},
			existing: []*fleet.Bundle{stored("api", "x"), stored("web", "x")},
			failed:   []string{"apps/web2"},
			want:     []string{"keep web", "unchanged 1"},
		},
		{
			name:     "paths that match nothing mark nothing",
			existing: []*fleet.Bundle{stored("api", "x"), stored("web", "x")},
			empty:    []string{"aps/*"},
			want:     []string{"keep api", "keep web"},
		},
		{
			name:    "another GitRepo's bundle is not taken over",
			desired: []*fleet.Bundle{read("web", "x")},
			others:  []*fleet.Bundle{stored("web", "x", func(b *fleet.Bundle) { b.Labels[names.LabelRepoName] = "other" })},
			want:    []string{"refuse web"},
		},
		{
			name:    "nor one that was made by hand",
			desired: []*fleet.Bundle{read("web", "x")},
			others:  []*fleet.Bundle{stored("web", "x", func(b *fleet.Bundle) { b.Labels = nil })},
			want:    []string{"refuse web"},
		},
		{
			name:    "nor that of a HelmOp",
			desired: []*fleet.Bundle{read("web", "x")},
			others:  []*fleet.Bundle{stored("web", "x", func(b *fleet.Bundle) { b.Labels = map[string]string{names.LabelHelmName: "web"} })},
			want:    []string{"refuse web"},
		},
		{
			name:    "nor that of an agent",
			desired: []*fleet.Bundle{read(names.AgentBundle("c1"), "x")},
			others:  []*fleet.Bundle{stored(names.AgentBundle("c1"), "x", func(b *fleet.Bundle) { b.Labels = nil })},
			want:    []string{"refuse fleet-agent-c1"},
		},
		{
			name:     "a bundle being deleted is waited for",
			desired:  []*fleet.Bundle{read("web", "x")},
			existing: []*fleet.Bundle{stored("web", "x", func(b *fleet.Bundle) { b.DeletionTimestamp = &now })},
			want:     []string{"refuse web"},
		},
		{
			name:     "a finalizer that somebody took off comes back",
			desired:  []*fleet.Bundle{read("web", "x")},
			existing: []*fleet.Bundle{stored("web", "x", func(b *fleet.Bundle) { b.Finalizers = nil })},
			want:     []string{"update web to c2"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			named := map[string]*fleet.Bundle{}
			for _, b := range slices.Concat(tt.existing, tt.others) {
				named[b.Name] = b
			}
			plan, err := Next(World{
				Repo: "shop", Commit: "c2", Desired: tt.desired, Failed: tt.failed, EmptyPaths: tt.empty,
				Existing: tt.existing, Named: named,
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := told(plan); !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestNextComparesNumbersByTheirValue(t *testing.T) {
	values := func(n any) func(*fleet.Bundle) {
		return func(b *fleet.Bundle) {
			b.Spec.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"replicas": n}}}
		}
	}
	want := read("web", "x")
	values(3)(want)
	have := stored("web", "x", values(float64(3)))
	plan, err := Next(World{Repo: "shop", Commit: "c2", Desired: []*fleet.Bundle{want},
		Existing: []*fleet.Bundle{have}, Named: map[string]*fleet.Bundle{"web": have}})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Unchanged != 1 {
		t.Errorf("the same number was written again: %q", told(plan))
	}
}

func TestDigestTellsForeignChangesFromCommits(t *testing.T) {
	digest := func(b *fleet.Bundle) string {
		d, err := Digest(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(d[:])
	}
	wanted := digest(read("web", "x"))
	if digest(stored("web", "x")) != wanted {
		t.Error("a bundle that an earlier commit has written already looks foreign")
	}
	for name, change := range map[string]func(*fleet.Bundle){
		"option": func(b *fleet.Bundle) { b.Spec.DefaultNamespace = "elsewhere" },
		"label":  func(b *fleet.Bundle) { b.Labels["team"] = "b" },
	} {
		if digest(stored("web", "x", change)) == wanted {
			t.Errorf("a foreign %s goes unnoticed", name)
		}
	}
}

// A mark stays until the folder is back; its note goes with it.
func TestMarksAreCountedAndTakenOff(t *testing.T) {
	marked := func(b *fleet.Bundle) {
		b.Annotations[names.AnnotationGone], b.Annotations[names.AnnotationGoneShare] = "c1", "2/3"
	}
	plan, err := Next(World{
		Repo: "shop", Commit: "c2", Desired: []*fleet.Bundle{read("web", "x")},
		Existing: []*fleet.Bundle{stored("web", "x", marked), stored("api", "x", marked), stored("db", "x")},
		Named:    map[string]*fleet.Bundle{"web": stored("web", "x", marked)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Gone) != 1 || plan.Gone[0].Before.Name != "db" || plan.AlreadyGone != 1 {
		t.Errorf("gone: %d, already: %d", len(plan.Gone), plan.AlreadyGone)
	}
	if len(plan.Update) != 1 {
		t.Fatalf("%d updates, want 1", len(plan.Update))
	}
	for _, key := range []string{names.AnnotationGone, names.AnnotationGoneShare} {
		if value, there := plan.Update[0].After.Annotations[key]; there {
			t.Errorf("the folder is back, and %s says %q", key, value)
		}
	}
}
