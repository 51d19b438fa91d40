package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	pkgkube "github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// lose takes a deployment off the hub without anybody having asked for it.
func (w *world) lose(keys ...pkgkube.Key) {
	w.t.Helper()
	for _, key := range keys {
		w.unpin(key)
		env.BundleDeployments.Remove(w.t, key)
		env.BundleDeployments.AwaitGone(w.t, key)
	}
}

// awaitUnclaimed waits until the hub is told of exactly these releases of the
// target namespace.
func (w *world) awaitUnclaimed(releases ...string) {
	w.t.Helper()
	want := make([]string, 0, len(releases))
	for _, name := range releases {
		want = append(want, w.target+"/"+name)
	}
	slices.Sort(want)
	env.Clusters.Await(w.t, harness.KeyOf(w.cluster), func(c *fleet.Cluster) error {
		if a := c.Status.Agent; a.UnclaimedReleases != len(want) || !slices.Equal(a.Unclaimed, want) {
			return fmt.Errorf("unclaimed are %d: %v", a.UnclaimedReleases, a.Unclaimed)
		}
		return nil
	})
}

// say writes a person's word on the newest record of a release.
func (w *world) say(release, word string) {
	w.t.Helper()
	var newest string
	for _, record := range w.records(w.target) {
		if record.Labels["name"] == release {
			newest = max(newest, record.Name)
		}
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, names.AnnotationUnclaimed, word)
	_, err := env.Kubernetes.CoreV1().Secrets(w.target).Patch(w.t.Context(), newest, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

// recordsOf returns the names and the keys of the labels of the records of a
// release.
func (w *world) recordsOf(release string) []string {
	var found []string
	for _, record := range w.records(w.target) {
		if record.Labels["name"] == release {
			for label := range record.Labels {
				found = append(found, record.Name+" "+label)
			}
		}
	}
	return found
}

func TestUnclaimedReleasesAreToldAndGoOnAPersonsWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	long := "a-deployment-with-a-name-that-is-longer-than-a-label-can-hold-which-happens"
	app := func(name string) ask {
		return manifest(map[string]string{"a.yaml": configMapYAML(name, "1")}).
			with(helmOptions(func(o *fleet.HelmOptions) { o.ReleaseName = name })).
			with(func(bd *fleet.BundleDeployment) { bd.Labels[names.LabelBundleName] = name })
	}
	keys := map[string]pkgkube.Key{}
	for name, deployment := range map[string]string{"back": "back", "remove": long, "forget": "forget", "stay": "stay"} {
		keys[name] = w.deploy(deployment, app(name))
	}
	for _, key := range keys {
		w.awaitReady(key)
	}
	was := w.configMap("back").UID
	w.lose(keys["back"], keys["remove"], keys["forget"], keys["stay"])
	w.awaitUnclaimed("back", "forget", "remove", "stay")
	w.restart() // an agent that knows nothing of what was before
	w.awaitUnclaimed("back", "forget", "remove", "stay")

	w.deploy("back", app("back"))
	w.awaitReady(keys["back"])
	w.awaitUnclaimed("forget", "remove", "stay")
	if w.configMap("back").UID != was {
		t.Error("it was made anew")
	}

	w.say("remove", names.UnclaimedRemove)
	w.awaitUnclaimed("forget", "stay")
	if w.configMap("remove") != nil || len(w.recordsOf("remove")) > 0 {
		t.Errorf("the release is left: %v", w.recordsOf("remove"))
	}
	w.say("forget", names.UnclaimedForget)
	w.awaitUnclaimed("stay")
	for _, label := range w.recordsOf("forget") {
		if strings.Contains(label, "flotilla") {
			t.Errorf("a record has label %s", label)
		}
	}
	if w.configMap("forget") == nil || len(w.recordsOf("forget")) == 0 || w.configMap("stay") == nil {
		t.Error("more went than somebody asked for")
	}
	// It is somebody else's now.
	again := w.deploy("forget", app("forget"))
	w.awaitFailed(again, "release name "+w.target+"/forget is taken")

	// A word about a release that has a deployment is none.
	w.say("back", names.UnclaimedRemove)
	harness.Eventually(t, "the word is taken off", func(context.Context) error {
		for _, record := range w.records(w.target) {
			if record.Annotations[names.AnnotationUnclaimed] != "" {
				return fmt.Errorf("record %s has it", record.Name)
			}
		}
		return nil
	})
	w.lose(keys["back"])
	w.awaitUnclaimed("back", "stay")
	if w.configMap("back") == nil {
		t.Error("it was removed")
	}
}

func TestUnclaimedReleaseWhoseObjectIsStuckGoesWhenThatDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("held", "1"), "b.yaml": configMapYAML("free", "1")}))
	w.awaitReady(key)
	w.setFinalizers("held", "example.com/hold")
	w.lose(key)
	w.awaitUnclaimed("app")
	w.say("app", names.UnclaimedRemove)
	harness.Eventually(t, "what nothing holds is gone", func(context.Context) error {
		if w.configMap("free") != nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	w.awaitUnclaimed("app")
	w.setFinalizers("held")
	w.awaitUnclaimed()
	if w.configMap("held") != nil || len(w.recordsOf("app")) > 0 {
		t.Error("something is left")
	}
}
