package removals

import (
	"maps"
	"strings"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func gitRepoDeleted(t *testing.T) {
	w := newWorld(t, "one", "two")
	_, shop := w.repository("api", "web")
	w.bundle("other")
	w.awaitRuns(where{"shop-api": on("one", "two"), "shop-web": on("one", "two"), "other": on("one", "two")})
	before := w.traces(where{"other": on("one", "two")})

	hub.GitRepos.Remove(t, shop)
	w.awaitRuns(where{"other": on("one", "two")})
	hub.GitRepos.AwaitGone(t, shop)
	w.untouched(before)
}

func bundleDeleted(t *testing.T) {
	w := newWorld(t, "one", "two")
	web := w.bundle("web")
	w.bundle("other")
	w.awaitRuns(where{"web": on("one", "two"), "other": on("one", "two")})
	before := w.traces(where{"other": on("one", "two")})

	hub.Bundles.Remove(t, web)
	w.awaitRuns(where{"other": on("one", "two")})
	w.untouched(before)

	// The same name again is a new bundle.
	w.bundle("web", only("two"))
	w.awaitRuns(where{"web": on("two"), "other": on("one", "two")})
}

func folderGone(t *testing.T) {
	w := newWorld(t, "one", "two")
	r, _ := w.repository("api", "web")
	w.awaitRuns(where{"shop-api": on("one", "two"), "shop-web": on("one", "two")})
	before := w.traces(where{"shop-web": on("one", "two")})

	r.Push(t, repo.Change{Remove: []string{"api"}})
	w.awaitRuns(where{"shop-web": on("one", "two")})
	w.untouched(before)

	r.Push(t, repo.Change{Write: w.folder("api", "api")})
	w.awaitRuns(where{"shop-api": on("one", "two"), "shop-web": on("one", "two")})
	w.untouched(before)
}

// What the bundle holds belongs to a release of the old name until that is
// gone; only then the new one can have it.
func bundleRenamed(t *testing.T) {
	w := newWorld(t, "one")
	r, _ := w.repository("api", "web")
	w.awaitRuns(where{"shop-api": on("one"), "shop-web": on("one")})
	before := w.traces(where{"shop-api": on("one")})

	files := w.folder("web", "web")
	files["web/fleet.yaml"] += "name: shop-site\n"
	r.Push(t, repo.Change{Write: files})
	w.objects["shop-site"] = []string{"shop-web"}
	w.awaitRuns(where{"shop-api": on("one"), "shop-site": on("one")})
	w.untouched(before)
}

// The bundle that gets the resource may be deployed before or after the one
// that gives it up. Either way it is there in the end, and does not go with the
// bundle that it came from.
func resourceMoved(t *testing.T) {
	w := newWorld(t, "one")
	r, _ := w.repository("api", "web")
	r.Push(t, repo.Change{Write: w.folder("api", "api", "guest")})
	w.objects["shop-api"] = []string{"shop-api", "shop-guest"}
	both := where{"shop-api": on("one"), "shop-web": on("one")}
	w.awaitRuns(both)

	files := w.folder("web", "web", "guest")
	files["web/fleet.yaml"] += "helm:\n  takeOwnership: true\n"
	maps.Copy(files, w.folder("api", "api"))
	r.Push(t, repo.Change{Write: files})
	w.objects["shop-api"], w.objects["shop-web"] = []string{"shop-api"}, []string{"shop-web", "shop-guest"}
	w.awaitOwner("one", "shop-guest", "shop-web")
	w.awaitRuns(both)
	before := w.traces(where{"shop-web": on("one")})

	r.Push(t, repo.Change{Remove: []string{"api"}})
	w.awaitRuns(where{"shop-web": on("one")})
	w.untouched(before)
}

func keepResources(t *testing.T) {
	w := newWorld(t, "one", "two")
	web := w.bundle("web", func(b *fleet.Bundle) {
		keep := true
		b.Spec.KeepResources = &keep
	})
	w.awaitRuns(where{"web": on("one", "two")})
	before := w.objectsOnly("one", "web")

	hub.Bundles.Edit(t, web, only("two"))
	w.await(want{runs: where{"web": on("two")}, kept: where{"web": on("one")}})
	if now := w.objectsOnly("one", "web"); now != before {
		t.Errorf("the object is %s, was %s", now, before)
	}
	// What was kept is had back.
	hub.Bundles.Edit(t, web, only("one", "two"))
	w.awaitRuns(where{"web": on("one", "two")})
	if uid, _, _ := strings.Cut(before, " version"); !strings.HasPrefix(w.objectsOnly("one", "web"), uid) {
		t.Errorf("the object was made anew: it is %s, was %s", w.objectsOnly("one", "web"), before)
	}
	hub.Bundles.Remove(t, web)
	w.await(want{kept: where{"web": on("one", "two")}})
}

// objectsOnly is the trace of a bundle without its release.
func (w *world) objectsOnly(cluster, bundle string) string {
	w.t.Helper()
	var objects []string
	for _, line := range w.trace(cluster, bundle) {
		if strings.HasPrefix(line, "object ") {
			objects = append(objects, line)
		}
	}
	return strings.Join(objects, ", ")
}

func deleteNamespace(t *testing.T) {
	w := newWorld(t, "one", "two")
	web := w.bundle("web", func(b *fleet.Bundle) {
		remove := true
		b.Spec.DeleteNamespace = &remove
	})
	w.awaitRuns(where{"web": on("one", "two")})
	there := w.members["two"].downstream.Namespaces.Await(t, harness.KeyOf(namespace(w.workspace)), accept)

	hub.Bundles.Edit(t, web, only("two"))
	w.awaitRuns(where{"web": on("two")})
	w.members["one"].downstream.Namespaces.AwaitGone(t, harness.KeyOf(namespace(w.workspace)))
	if still := w.members["two"].downstream.Namespaces.Await(t, harness.KeyOf(there), accept); still.UID != there.UID || still.DeletionTimestamp != nil {
		t.Error("the namespace went where the bundle stays")
	}
}
