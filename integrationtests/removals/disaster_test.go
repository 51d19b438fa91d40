package removals

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// With the definition of a kind all its objects are deleted, which says nothing
// about any of them. It stays that way until a person lets go of them; when the
// definition is back, so are they, and nothing has happened to what runs.
func TestDefinitionRemovedUnderTheManager(t *testing.T) {
	hub.StartManager(t, nil)
	w := newWorld(t, "one", "two")
	w.repository("api", "web")
	there := where{"shop-api": on("one", "two"), "shop-web": on("one", "two")}
	w.awaitRuns(there)
	before, was := w.traces(there), w.members["one"].uid("shop-web")

	restore := removeDefinition(t, "bundles.fleet.cattle.io")
	for _, name := range []string{"shop-api", "shop-web"} {
		hub.Bundles.AwaitCondition(t, w.key(name), fleet.Condition{
			Type: fleet.ConditionPruneHeld, Status: metav1.ConditionTrue, Reason: fleet.ReasonKindLeaving,
		})
	}
	// What has nothing to do with it goes on.
	group := w.group()
	hub.ClusterGroups.Await(t, group, func(g *fleet.ClusterGroup) error {
		if g.Status.ClusterCount != 2 {
			return fmt.Errorf("it counts %d clusters", g.Status.ClusterCount)
		}
		return nil
	})
	w.untouched(before)

	for _, b := range hub.Bundles.All(t, "", nil).Items {
		hub.Bundles.Edit(t, harness.KeyOf(&b), func(b *fleet.Bundle) { b.Finalizers = nil })
	}
	restore()
	w.awaitRuns(there)
	w.untouched(before)
	if now := w.members["one"].uid("shop-web"); now != was {
		t.Error("the deployment was made anew")
	}
}

// removeDefinition deletes the definition of a kind. What it returns waits
// until it is gone and makes it again.
func removeDefinition(t *testing.T, name string) (restore func()) {
	t.Helper()
	client, err := apiextensions.NewForConfig(hub.Config)
	if err != nil {
		t.Fatal(err)
	}
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	definition, err := definitions.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := definitions.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		harness.Eventually(t, "the definition is gone", func(ctx context.Context) error {
			_, err := definitions.Get(ctx, name, metav1.GetOptions{})
			if err == nil {
				return errors.New("it is there")
			}
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		})
		definition.ObjectMeta = metav1.ObjectMeta{Name: name, Annotations: definition.Annotations}
		definition.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
		if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// The lists with which the manager fills its caches come back empty, as from an
// API server that has lost its memory or a proxy that hides it: what was there
// seems to be gone. When the truth is back, nothing has happened.
func TestListsThatComeBackEmpty(t *testing.T) {
	line := harness.NewLine()
	hub.StartManager(t, func(c *manager.Config) { c.Hub = line.Through(c.Hub) })
	w := newWorld(t, "one", "two")
	w.repository("web")
	w.group()
	w.bundle("found", func(b *fleet.Bundle) {
		b.Spec.Targets = []fleet.BundleTarget{{ClusterGroupSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}}}
	})
	probe := w.bundle("probe")
	there := where{"shop-web": on("one", "two"), "found": on("one", "two")}
	w.awaitRuns(where{"shop-web": on("one", "two"), "found": on("one", "two"), "probe": on("one", "two")})
	before, was := w.traces(there), w.members["one"].uid("found")

	for _, lie := range []struct {
		lost []string
		// settle returns when the manager has acted on what it was told.
		settle func()
	}{
		{[]string{"gitrepos", "clustergroups", "bundlenamespacemappings", "namespaces", "secrets"}, func() {
			// Workloads that match no more go before those of a deleted bundle.
			hub.Bundles.Remove(t, probe)
			for _, m := range w.members {
				hub.BundleDeployments.AwaitGone(t, m.deployment("probe"))
			}
		}},
		{[]string{"bundles", "clusters", "bundledeployments", "contents"}, func() { hub.AwaitQuiet(t) }},
	} {
		lists := emptyLists(t, lie.lost)
		line.Answer(lists.answer)
		line.Relist()
		harness.Eventually(t, fmt.Sprintf("the manager has seen no %s", strings.Join(lie.lost, ", ")), func(context.Context) error {
			return lists.all()
		})
		lie.settle()
		w.untouched(before)
		line.Repair()
		line.Relist()
	}
	w.bundle("later")
	w.awaitRuns(where{"shop-web": on("one", "two"), "found": on("one", "two"), "later": on("one", "two")})
	w.untouched(before)
	if now := w.members["one"].uid("found"); now != was {
		t.Error("the deployment was made anew")
	}
}

// lies are empty lists of some kinds.
type lies struct {
	// lists are the answers to those who list, by path, and streams those to who watch from the beginning.
	lists, streams map[string][]byte

	mu   sync.Mutex
	told map[string]bool
}

// emptyLists returns empty lists of kinds, as of now: a watch that begins there
// does not bring back what they leave out.
func emptyLists(t *testing.T, kinds []string) *lies {
	t.Helper()
	l := &lies{lists: map[string][]byte{}, streams: map[string][]byte{}, told: map[string]bool{}}
	client, err := rest.HTTPClientFor(hub.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		path := "/apis/fleet.cattle.io/v1alpha1/" + kind
		if slices.Contains([]string{"namespaces", "secrets"}, kind) {
			path = "/api/v1/" + kind
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, hub.Config.Host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		list := map[string]any{}
		err = errors.Join(json.NewDecoder(response.Body).Decode(&list), response.Body.Close())
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("listing %s: %s, %v", kind, response.Status, err)
		}
		version := list["metadata"].(map[string]any)["resourceVersion"]
		list["items"] = []any{}
		if l.lists[path], err = json.Marshal(list); err != nil {
			t.Fatal(err)
		}
		l.streams[path], err = json.Marshal(map[string]any{"type": "BOOKMARK", "object": map[string]any{
			"apiVersion": list["apiVersion"], "kind": strings.TrimSuffix(list["kind"].(string), "List"), "metadata": map[string]any{
				"resourceVersion": version, "annotations": map[string]string{metav1.InitialEventsAnnotationKey: "true"},
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// answer lies to those who fill a cache: they watch from the beginning, or list
// in pages. What is asked for otherwise, to confirm something, is answered
// truly.
func (l *lies) answer(req *http.Request) *http.Response {
	query := req.URL.Query()
	var lie []byte
	switch {
	case req.Method != http.MethodGet:
	case query.Get("sendInitialEvents") == "true":
		lie = l.streams[req.URL.Path]
	case !query.Has("watch") && (query.Has("limit") || query.Has("resourceVersion")):
		lie = l.lists[req.URL.Path]
	}
	if lie == nil {
		return nil
	}
	l.mu.Lock()
	l.told[req.URL.Path] = true
	l.mu.Unlock()
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": []string{"application/json"}}, ContentLength: int64(len(lie)),
		Body: io.NopCloser(bytes.NewReader(lie)),
	}
}

// all says what has not been asked for yet.
func (l *lies) all() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for path := range l.lists {
		if !l.told[path] {
			return fmt.Errorf("nobody has asked for %s", path)
		}
	}
	return nil
}

// The hub is set back to a backup. What was made since then runs on without
// anybody asking for it; what was removed is back; a removal that was decided
// before the backup, and taken back after it, does not happen. Whoever asks for
// what is there again gets it as it is. The agents run on all the time.
func TestRestoredBackup(t *testing.T) {
	manager := hub.StartManager(t, nil)
	w := newWorld(t, "one", "two")
	one := w.members["one"]
	w.bundle("same")
	changed := w.bundle("changed")
	old, again, moved := w.bundle("old"), w.bundle("again"), w.bundle("moved", only("one"))
	w.awaitRuns(where{
		"same": on("one", "two"), "changed": on("one", "two"), "old": on("one", "two"), "again": on("one", "two"), "moved": on("one"),
	})
	one.stop()
	hub.Bundles.Edit(t, again, only("two"))
	w.await(want{
		runs: where{
			"same": on("one", "two"), "changed": on("one", "two"), "old": on("one", "two"), "again": on("two"), "moved": on("one"),
		},
		removing: where{"again": on("one")},
	})
	was := one.uid("again")
	manager.Stop(t)
	backup := hub.Backup(t)
	manager.Start()

	after := func() {
		hub.Bundles.Edit(t, again, only("one", "two"))
		one.awaitAnew("again", was)
		hub.Bundles.Edit(t, moved, only("two"))
		hub.Bundles.Remove(t, old)
		hub.Bundles.Edit(t, changed, func(b *fleet.Bundle) {
			b.Spec.Resources = []fleet.BundleResource{{Name: "configmap.yaml", Content: configMap("changed", "2")}}
		})
		w.bundle("new")
	}
	age(t)
	after()
	one.start()
	there := where{
		"same": on("one", "two"), "changed": on("one", "two"), "again": on("one", "two"), "moved": on("two"), "new": on("one", "two"),
	}
	w.awaitRuns(there)
	w.awaitSays("changed", "2")
	before := w.traces(there)
	maps.DeleteFunc(before, func(at string, _ trace) bool { return strings.HasSuffix(at, "/changed") })

	manager.Stop(t)
	hub.Restore(t, backup)
	manager.Start()
	w.await(want{
		runs: where{
			"same": on("one", "two"), "changed": on("one", "two"), "old": on("one", "two"), "again": on("two"), "moved": on("one"),
		},
		left: where{"new": on("one", "two"), "again": on("one"), "moved": on("two")},
	})
	w.awaitSays("changed", "1") // what the hub knows is what runs
	w.untouched(before)
	w.awaitUnclaimed("one", "again", "new")
	w.awaitUnclaimed("two", "moved", "new")

	after()
	w.awaitRuns(there)
	w.awaitSays("changed", "2")
	w.untouched(before)
	w.awaitUnclaimed("one")
	w.awaitUnclaimed("two")
}

// awaitSays waits until a bundle's ConfigMap has a value on every cluster.
func (w *world) awaitSays(bundle, value string) {
	w.t.Helper()
	for name, m := range w.members {
		harness.Eventually(w.t, bundle+" says "+value+" on "+name, func(ctx context.Context) error {
			cm, err := m.downstream.Kubernetes.CoreV1().ConfigMaps(w.workspace).Get(ctx, bundle, metav1.GetOptions{})
			if err == nil && cm.Data["key"] != value {
				err = fmt.Errorf("it says %q", cm.Data["key"])
			}
			return err
		})
	}
}

// awaitUnclaimed waits until the agent of a cluster has told the hub that
// exactly these bundles have releases that nothing claims.
func (w *world) awaitUnclaimed(cluster string, bundles ...string) {
	w.t.Helper()
	hub.Clusters.Await(w.t, w.key(cluster), func(c *fleet.Cluster) error {
		var want []string
		for _, bundle := range bundles {
			want = append(want, w.workspace+"/"+names.HelmRelease(bundle))
		}
		if a := c.Status.Agent; a.UnclaimedReleases != len(want) || !slices.Equal(a.Unclaimed, want) {
			return fmt.Errorf("unclaimed are %d: %v, want %v", a.UnclaimedReleases, a.Unclaimed, want)
		}
		return nil
	})
}

// age writes to the hub so often that a backup of it will not get as far again
// soon.
func age(t *testing.T) {
	t.Helper()
	api := hub.Kubernetes.CoreV1().ConfigMaps(hub.Workspace(t))
	cm, err := api.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "age"}}, metav1.CreateOptions{})
	for i := 0; err == nil && i < 1000; i++ {
		cm.Data = map[string]string{"age": strconv.Itoa(i)}
		cm, err = api.Update(t.Context(), cm, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
