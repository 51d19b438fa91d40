package release

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestRecordsAreReadFromLabels(t *testing.T) {
	owner := testOwner()
	labels := labelsFor(owner, Digest("content:1"))
	maps.Copy(labels, map[string]string{"owner": "helm", "name": "app", "status": "deployed", "version": "7", "createdAt": "1"})
	got, err := RecordOf(&metav1.ObjectMeta{Namespace: "web", Name: "sh.helm.release.v1.app.v7", Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	want := *recordWith(func(r *Record) { r.Revision = 7 })
	if got != want {
		t.Errorf("record is %+v, want %+v", got, want)
	}
	if !got.BelongsTo(owner) {
		t.Error("the record does not belong to its owner")
	}
	labels["version"] = "x"
	if _, err := RecordOf(&metav1.ObjectMeta{Labels: labels}); err == nil {
		t.Error("a record without revision was accepted")
	}
	if _, err := RecordOf(&metav1.ObjectMeta{Labels: map[string]string{"version": "1"}}); err == nil {
		t.Error("a Secret that is no record was accepted")
	}
}

func TestLabelsOfLongNamesAreValid(t *testing.T) {
	long := "a-bundle-with-a-name-that-is-longer-than-any-label-value-may-be-and-then-some"
	if label := DeploymentLabel(long); len(label) > 63 || label == DeploymentLabel(long+"x") {
		t.Errorf("label is %q", label)
	}
	if d := Digest("s-0123:abcd"); len(d) > 63 || d == Digest("s-0123:abce") {
		t.Errorf("digest is %q", d)
	}
}

func TestNewestRecordOfEachRelease(t *testing.T) {
	meta := func(name, version string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Labels: map[string]string{
			"owner": "helm", "name": name, "version": version,
		}}}
	}
	got := newest([]any{meta("b", "9"), meta("a", "10"), meta("a", "9"), meta("a", "2"), "no object"})
	if len(got) != 2 || got[0].Key.Name != "a" || got[0].Revision != 10 || got[1].Revision != 9 {
		t.Errorf("newest are %+v", got)
	}
}

func TestObjectSetsOfAgentsDiffer(t *testing.T) {
	if usual, other := ObjectSet("app", names.NamespaceSystem), ObjectSet("app", "other"); usual != "default-app" || other != "default-app-other" {
		t.Errorf("object sets are %q and %q", usual, other)
	}
}

func TestLocksKeepWorkOnOneReleaseApart(t *testing.T) {
	var l locks
	a, b := Key{Namespace: "n", Name: "a"}, Key{Namespace: "n", Name: "b"}
	var wg sync.WaitGroup
	working := map[Key]int{}
	for i := range 200 {
		keys := []Key{a, b}
		if i%2 == 0 {
			keys = []Key{b, a, b} // the other way round, and one of them twice
		}
		wg.Go(func() {
			unlock, err := l.lock(t.Context(), keys...)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			working[a]++ // the race detector watches
			working[b]++
		})
	}
	wg.Wait()
	if working[a] != 200 || working[b] != 200 || len(l.held) != 0 {
		t.Errorf("worked %v times, %d locks are left", working, len(l.held))
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	var l locks
	key := Key{Namespace: "n", Name: "a"}
	unlock, err := l.lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.lock(ctx, Key{Namespace: "n", Name: "0"}, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	unlock()
	if len(l.held) != 0 {
		t.Errorf("%d locks are left", len(l.held))
	}
}

func TestNamespaceMarks(t *testing.T) {
	have := map[string]string{"a": "1", "b": "1", "kubernetes.io/metadata.name": "web", "pod-security.kubernetes.io/enforce": "baseline"}
	if got := difference(have, nil, reservedLabel); got != nil {
		t.Errorf("without labels the change is %v", got)
	}
	got := difference(have, map[string]string{"a": "2", "c": "1"}, reservedLabel)
	want := map[string]any{"a": "2", "b": nil, "c": "1"}
	if !maps.Equal(got, want) {
		t.Errorf("change is %v, want %v", got, want)
	}
	if got := difference(have, map[string]string{"a": "1", "b": "1"}, reservedLabel); len(got) != 0 {
		t.Errorf("nothing differs, but the change is %v", got)
	}
}
