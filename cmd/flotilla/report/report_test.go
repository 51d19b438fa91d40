package report_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

var update = flag.Bool("update", false, "write the golden files anew")

// noon is when all of the tests happen.
func noon() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }

// printable is a report in both of its forms.
type printable struct {
	report any
	text   func(out io.Writer, colour bool) error
	yes    bool
}

// TestGolden says of every world of testdata what is printed about it, as text
// and as JSON.
func TestGolden(t *testing.T) {
	aboutTargets := func(found report.Targets, one bool) printable {
		return printable{found, func(out io.Writer, colour bool) error { return found.WriteText(out, one, colour) }, found.Yes(one)}
	}
	aboutGC := func(found report.GarbageCollection) printable {
		return printable{found, func(out io.Writer, colour bool) error { return found.WriteText(out, noon(), colour) }, found.Yes()}
	}
	aboutStatus := func(found report.Status) printable { return printable{found, found.WriteText, found.Yes()} }
	tests := []struct {
		name, world string
		of          func(w report.World) printable
		yes         bool
	}{
		{"targets", "targets", func(w report.World) printable { return aboutTargets(report.TargetsOf(w, nil), false) }, true},
		{"targets-only-no", "targets", func(w report.World) printable {
			return aboutTargets(report.TargetsOf(w, nil).Only(targeting.AnswerNo), false)
		}, true},
		{"targets-blind", "targets", func(w report.World) printable {
			w.Deployments, w.DeploymentsUnknown = nil, true
			return aboutTargets(report.TargetsOf(w, nil), false)
		}, true},
		{"targets-one-yes", "targets", func(w report.World) printable {
			return aboutTargets(report.TargetsOf(w, &kube.Key{Namespace: "ws", Name: "one"}), true)
		}, true},
		{"targets-one-no", "targets", func(w report.World) printable {
			return aboutTargets(report.TargetsOf(w, &kube.Key{Namespace: "ws", Name: "old"}), true)
		}, false},
		{"targets-one-far", "targets", func(w report.World) printable {
			return aboutTargets(report.TargetsOf(w, &kube.Key{Namespace: "other", Name: "far"}), true)
		}, false},
		{"doubt", "doubt", func(w report.World) printable { return aboutTargets(report.TargetsOf(w, nil), false) }, false},
		{"doubt-one", "doubt", func(w report.World) printable {
			return aboutTargets(report.TargetsOf(w, &kube.Key{Namespace: "ws", Name: "one"}), true)
		}, false},
		{"doubt-one-far", "doubt", func(w report.World) printable {
			return aboutTargets(report.TargetsOf(w, &kube.Key{Namespace: "other", Name: "far"}), true)
		}, false},
		{"gc", "gc", func(w report.World) printable { return aboutGC(report.GarbageCollectionOf(w)) }, false},
		{"gc-cluster", "gc", func(w report.World) printable {
			return aboutGC(report.GarbageCollectionOf(w).About([]string{"cluster/ws/away", "bundle/ws/ending"}))
		}, true},
		{"gc-nothing", "targets", func(w report.World) printable {
			w.Deployments = nil
			return aboutGC(report.GarbageCollectionOf(w))
		}, true},
		{"status", "status", func(w report.World) printable {
			return aboutStatus(report.StatusOf(w, report.StatusOptions{Brief: true}))
		}, false},
		{"status-ignore-offline", "status", func(w report.World) printable {
			return aboutStatus(report.StatusOf(w, report.StatusOptions{IgnoreOffline: true, Commit: "aaaaaaaaaaaa"}))
		}, false},
		{"status-nothing", "gc", func(report.World) printable {
			return aboutStatus(report.StatusOf(report.World{}, report.StatusOptions{}))
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.of(read(t, tt.world))
			if got.yes != tt.yes {
				t.Errorf("the answer is %t, want %t", got.yes, tt.yes)
			}
			var text bytes.Buffer
			if err := got.text(&text, false); err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name+".txt", text.Bytes())
			if strings.Contains(text.String(), "\x1b") {
				t.Error("the text has control characters")
			}
			data, err := json.MarshalIndent(got.report, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name+".json", append(data, '\n'))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

// read reads a world from YAML. What of it is unknown fails the test.
func read(t *testing.T, name string) report.World {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w := report.World{Now: noon()}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return w
		}
		var meta metav1.TypeMeta
		if err == nil {
			err = yaml.Unmarshal(document, &meta)
		}
		if err != nil {
			t.Fatal(err)
		}
		switch meta.Kind {
		case "GitRepo":
			decode(t, document, &w.GitRepos)
		case "Bundle":
			decode(t, document, &w.Bundles)
		case "Cluster":
			decode(t, document, &w.Clusters)
		case "ClusterGroup":
			decode(t, document, &w.Groups)
		case "BundleNamespaceMapping":
			decode(t, document, &w.Mappings)
		case "Namespace":
			decode(t, document, &w.Namespaces)
		case "BundleDeployment":
			decode(t, document, &w.Deployments)
		default:
			t.Fatalf("what is a %q?", meta.Kind)
		}
	}
}

func decode[T any](t *testing.T, document []byte, into *[]*T) {
	t.Helper()
	o := new(T)
	if err := yaml.UnmarshalStrict(document, o); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	*into = append(*into, o)
}

// TestColours: those who see colours see the same text.
func TestColours(t *testing.T) {
	found := report.StatusOf(read(t, "status"), report.StatusOptions{})
	var plain, colourful bytes.Buffer
	if err := errors.Join(found.WriteText(&plain, false), found.WriteText(&colourful, true)); err != nil {
		t.Fatal(err)
	}
	if plain.String() == colourful.String() {
		t.Error("there are no colours")
	}
	bare := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(colourful.String())
	if diff := cmp.Diff(plain.String(), bare); diff != "" {
		t.Errorf("the text differs (-plain +colourful):\n%s", diff)
	}
}

// TestPut says what each mark does to annotations.
func TestPut(t *testing.T) {
	const hold, release, gone = "flotilla-gitops.github.io/hold", "flotilla-gitops.github.io/release-held", "flotilla-gitops.github.io/gone-at-commit"
	held := func(reason string) []fleet.Condition {
		return []fleet.Condition{{Type: fleet.ConditionPruneHeld, Status: metav1.ConditionTrue, Reason: reason, Message: "3 are held."}}
	}
	tests := []struct {
		name             string
		mark             report.Mark
		before           map[string]string
		conditions       []fleet.Condition
		after            map[string]string
		changed, refused bool
		message          string
	}{
		{"hold", report.MarkHold, nil, nil, map[string]string{hold: "true"}, true, false, "held: nothing of it goes because of edited targets, clusters that no longer match, or a folder that is gone"},
		{"hold again", report.MarkHold, map[string]string{hold: "true", "a": "b"}, nil, map[string]string{hold: "true", "a": "b"}, false, false, "held: nothing of it goes because of edited targets, clusters that no longer match, or a folder that is gone"},
		{"hold what was released", report.MarkHold, map[string]string{release: "x"}, nil, map[string]string{hold: "true"}, true, false, "held: nothing of it goes because of edited targets, clusters that no longer match, or a folder that is gone"},
		{"release a hold that holds nothing", report.MarkRelease, map[string]string{hold: "true"}, nil, map[string]string{}, true, false, "no longer held by hand"},
		{"release a hold", report.MarkRelease, map[string]string{hold: "true"}, held("HeldByUser"), map[string]string{release: "2026-01-01T12:00:00Z"}, true, false, "released: what was held goes now; flotilla gc list shows how far it is"},
		{"release what the brake holds", report.MarkRelease, nil, held("SideEffects"), map[string]string{release: "2026-01-01T12:00:00Z"}, true, false, "released: what was held goes now; flotilla gc list shows how far it is"},
		{"release again", report.MarkRelease, map[string]string{release: "yes"}, held("SideEffects"), map[string]string{release: "yes"}, false, false, "released before: the garbage collector has yet to act on it"},
		{"release nothing", report.MarkRelease, nil, nil, map[string]string{}, false, false, "nothing of it is held"},
		{"release a bundle whose folder is gone", report.MarkRelease, map[string]string{gone: "c"}, nil, map[string]string{gone: "c", release: "2026-01-01T12:00:00Z"}, true, false, "released: what was held goes now; flotilla gc list shows how far it is"},
		{"release while the kind leaves", report.MarkRelease, nil, held("KindLeaving"), nil, false, true, "3 are held."},
		{"unhold", report.MarkUnhold, map[string]string{hold: "true"}, held("SideEffects"), map[string]string{}, true, false, "no longer held by hand: what is due goes, as far as the brake lets it"},
		{"unhold nothing", report.MarkUnhold, nil, held("SideEffects"), map[string]string{}, false, false, "nobody holds it by hand"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "web", Annotations: tt.before, Labels: map[string]string{"fleet.cattle.io/repo-name": "shop"}}}
			repo := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "shop"}}
			got := report.Marking{Object: b, Conditions: tt.conditions, GitRepo: repo, Now: noon()}.Put(tt.mark)
			want := report.Marked{Namespace: "ws", Name: "web", Mark: tt.mark, Changed: tt.changed, Refused: tt.refused, Message: tt.message}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the result differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.after, b.Annotations); diff != "" {
				t.Errorf("the annotations differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAHoldOnAGitRepoIsReleasedThere: a word about one of its bundles would not
// reach it.
func TestAHoldOnAGitRepoIsReleasedThere(t *testing.T) {
	repo := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "shop", Annotations: map[string]string{"flotilla-gitops.github.io/hold": "true"}}}
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "web", Annotations: map[string]string{"a": "b"}}}
	got := report.Marking{Object: b, GitRepo: repo, Now: noon()}.Put(report.MarkRelease)
	if !got.Refused || got.Changed || got.Message != "held by a hold on its GitRepo: release gitrepo/shop" || len(b.Annotations) != 1 {
		t.Errorf("%+v, annotations %v", got, b.Annotations)
	}
	marks := report.NewMarks()
	if marks.Objects = append(marks.Objects, got); marks.Yes() {
		t.Error("a refusal counts as a yes")
	}
}

// TestReady: what counts as ready, one fact at a time.
func TestReady(t *testing.T) {
	ready := func(edits ...func(*fleet.GitRepo, *fleet.Bundle)) report.World {
		r := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "shop", Generation: 2}}
		r.Status.ObservedGeneration, r.Status.Commit = 2, "0123456789"
		r.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 2}}
		b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "shop-web", Generation: 4, Labels: map[string]string{"fleet.cattle.io/repo-name": "shop"}}}
		b.Status.ObservedGeneration = 4
		b.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 4}}
		for _, edit := range edits {
			edit(r, b)
		}
		return report.World{GitRepos: []*fleet.GitRepo{r}, Bundles: []*fleet.Bundle{b}}
	}
	offline := func(r *fleet.GitRepo, b *fleet.Bundle) {
		unknown := []fleet.Condition{{Type: fleet.ConditionReady, Status: metav1.ConditionUnknown, Message: "one is offline"}}
		r.Status.Conditions, b.Status.Conditions = unknown, unknown
		r.Status.Summary = fleet.BundleSummary{DesiredReady: 2, Ready: 1, Unknown: 1}
		b.Status.Summary = r.Status.Summary
	}
	tests := []struct {
		name    string
		world   report.World
		options report.StatusOptions
		missing string
	}{
		{"all is well", ready(), report.StatusOptions{}, ""},
		{"at that commit", ready(), report.StatusOptions{Commit: "01234"}, ""},
		{"at another commit", ready(), report.StatusOptions{Commit: "ff"}, "gitrepo/shop: commit ff is not read yet: the newest is 0123456789"},
		{"an edit is not observed", ready(func(r *fleet.GitRepo, _ *fleet.Bundle) { r.Generation++ }), report.StatusOptions{}, "gitrepo/shop: the manager has not acted on its newest generation yet, which is 3"},
		{"the condition is about an older generation", ready(func(r *fleet.GitRepo, _ *fleet.Bundle) { r.Status.Conditions[0].ObservedGeneration = 1 }), report.StatusOptions{}, "gitrepo/shop: the manager has not acted on its newest generation yet, which is 2"},
		{"a bundle is behind its GitRepo", ready(func(_ *fleet.GitRepo, b *fleet.Bundle) { b.Generation++ }), report.StatusOptions{}, "gitrepo/shop: bundle shop-web: the manager has not acted on its newest generation yet, which is 5"},
		{"never looked at", ready(func(r *fleet.GitRepo, _ *fleet.Bundle) { r.Status = fleet.GitRepoStatus{} }), report.StatusOptions{}, "gitrepo/shop: the manager has not read a commit yet"},
		{"being deleted", ready(func(r *fleet.GitRepo, _ *fleet.Bundle) { r.DeletionTimestamp = &metav1.Time{} }), report.StatusOptions{}, "gitrepo/shop: it is being deleted"},
		{"clusters are offline", ready(offline), report.StatusOptions{}, "gitrepo/shop: one is offline"},
		{"clusters are offline, which does not matter", ready(offline), report.StatusOptions{IgnoreOffline: true}, ""},
		{"clusters are offline, and another is not ready", ready(offline, func(r *fleet.GitRepo, _ *fleet.Bundle) { r.Status.Summary.Ready = 0 }), report.StatusOptions{IgnoreOffline: true}, "gitrepo/shop: one is offline"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := report.StatusOf(tt.world, tt.options)
			if got.WaitingFor() != tt.missing || got.Yes() != (tt.missing == "") {
				t.Errorf("waiting for %q (ready: %t), want %q", got.WaitingFor(), got.Yes(), tt.missing)
			}
		})
	}
}
