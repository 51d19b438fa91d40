package agent

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestDriftIsCorrectedByWhatDiffersWithoutARevision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	files := map[string]string{"a.yaml": configMapYAML("a", "1"), "b.yaml": configMapYAML("b", "1"), "d.yaml": deploymentYAML}
	key := w.deploy("app", manifest(files).with(correcting))
	before := w.awaitReady(key)
	s := w.somebody()
	made, b := len(w.line.made()), w.configMap("b").ResourceVersion

	s.patch(configMaps, "a", `{"data":{"key":"2","foreign":"x"}}`)
	s.awaitValue(configMaps, "a", "data.key", `"1"`)
	w.awaitCorrected(key, `configmap.v1 `+w.target+`/a restored {"data":{"key":"1"}}`)
	if got := w.configMap("a").Data["foreign"]; got != "x" {
		t.Errorf("somebody else's field is %q", got)
	}
	s.patch(deployments, "web", `{"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":"web","image":"example.com/web:2"}]}}}}`)
	s.awaitValue(deployments, "web", "spec.replicas", "2")
	w.awaitCorrected(key, `{"spec":{"replicas":2,"template":{"spec":{"containers":[{"image":"example.com/web:1","name":"web"}]}}}}`)

	uid := w.configMap("a").UID
	s.remove(configMaps, "a")
	s.awaitValue(configMaps, "a", "data.key", `"1"`)
	w.awaitCorrected(key, `configmap.v1 `+w.target+`/a created again`)
	if again := w.configMap("a"); again.UID == uid || again.Annotations["meta.helm.sh/release-name"] != "app" || again.Labels["app.kubernetes.io/managed-by"] != "Helm" {
		t.Errorf("it is %+v", again.ObjectMeta)
	}
	after := w.awaitReady(key)
	if after.Status.Release != before.Status.Release || len(w.records(w.target)) != 1 {
		t.Errorf("release is %s, was %s; there are %d records", after.Status.Release, before.Status.Release, len(w.records(w.target)))
	}
	if w.configMap("b").ResourceVersion != b {
		t.Error("an object that had not drifted was written")
	}
	for _, write := range w.line.made()[made:] {
		if strings.HasSuffix(write, "/b") || strings.Contains(write, "sh.helm.release") {
			t.Errorf("the agent wrote %s", write)
		}
	}
	w.assertUnmodified(key)
}

func TestMarksOfTheReleaseAreRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(correcting))
	w.awaitReady(key)
	w.somebody().patch(configMaps, "a", `{"metadata":{"labels":null,"annotations":null}}`)
	w.awaitCorrected(key, "objectset.rio.cattle.io/hash")
	if cm := w.configMap("a"); cm.Annotations["meta.helm.sh/release-name"] != "app" || len(cm.Labels) < 2 {
		t.Errorf("it is %+v", cm.ObjectMeta)
	}
}

func TestTogglingCorrectDriftTakesEffectAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1"), "b.yaml": configMapYAML("b", "1")})
	key := w.deploy("app", app)
	before := w.awaitReady(key)
	s := w.somebody()
	s.patch(configMaps, "a", `{"data":{"key":"2"}}`)
	s.remove(configMaps, "b")
	w.awaitModified(key, "/b missing")
	w.change(key, app.with(correcting).with(func(bd *fleet.BundleDeployment) { bd.Spec.Paused = true }))
	w.awaitAgentPast("paused")
	if w.configMap("a").Data["key"] != "2" {
		t.Error("a paused deployment was corrected")
	}
	w.change(key, app.with(correcting))
	s.awaitValue(configMaps, "a", "data.key", `"1"`)
	s.awaitValue(configMaps, "b", "data.key", `"1"`)
	w.change(key, app)
	w.awaitReady(key)
	s.patch(configMaps, "a", `{"data":{"key":"3"}}`)
	if bd := w.awaitModified(key, `/a modified {"data":{"key":"1"}}`); bd.Status.Release != before.Status.Release {
		t.Errorf("release is %s, was %s", bd.Status.Release, before.Status.Release)
	}
}

func TestDeletedNamespaceIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	other := w.target + "-other"
	files := map[string]string{
		"ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + other + "}\n",
		"a.yaml":  strings.Replace(configMapYAML("a", "1"), "name: a", "name: a\n  namespace: "+other, 1),
		"b.yaml":  configMapYAML("b", "1"),
	}
	key := w.deploy("app", manifest(files).with(correcting))
	before := w.awaitReady(key)
	doom := func(name string) types.UID {
		namespaces := env.Kubernetes.CoreV1().Namespaces()
		ns, err := namespaces.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := namespaces.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		return ns.UID
	}
	anew := func(name string, old types.UID) {
		harness.Eventually(t, name+" is made anew", func(ctx context.Context) error {
			ns, err := env.Kubernetes.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			if err == nil && ns.UID == old {
				return fmt.Errorf("it is the old one: %s", ns.Status.Phase)
			}
			return err
		})
	}
	old := doom(other)
	anew(other, old)
	harness.Eventually(t, "the object in it is made anew", func(context.Context) error {
		if w.configMapIn(other, "a") == nil {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	if bd := w.awaitReady(key); bd.Status.Release != before.Status.Release {
		t.Errorf("release is %s, was %s", bd.Status.Release, before.Status.Release)
	}
	// With the namespace of the release its records are gone, too: it is installed again.
	old = doom(w.target)
	anew(w.target, old)
	harness.Eventually(t, "the object of the release is made anew", func(context.Context) error {
		if w.configMap("b") == nil {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	w.awaitReady(key)
}

func TestImmutableFieldNeedsForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1"), "b.yaml": configMapYAML("b", "1")})
	key := w.deploy("app", app.with(correcting))
	w.awaitReady(key)
	s := w.somebody()
	s.patch(configMaps, "a", `{"data":{"key":"2"},"immutable":true}`)
	s.awaitValue(configMaps, "a", "data.key", `"2"`)
	w.awaitModified(key, `configmap.v1 `+w.target+`/a modified {"data":{"key":"1"}} (not corrected: `)
	w.awaitModified(key, "set correctDrift.force to have it deleted and made anew")
	uid, other := w.configMap("a").UID, w.configMap("b").UID
	w.change(key, app.with(forcing))
	s.awaitValue(configMaps, "a", "data.key", `"1"`)
	w.awaitReady(key)
	if w.configMap("a").UID == uid || w.configMap("b").UID != other {
		t.Error("not exactly the object that could not be changed was made anew")
	}
}

func TestFightingControllerIsNamedAndMadeToWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1"), "b.yaml": configMapYAML("b", "1")}).with(correcting))
	w.awaitReady(key)
	s := w.somebody()
	s.as = "stubborn"
	watch, err := s.client.Resource(configMaps).Namespace(w.target).Watch(t.Context(), metav1.SingleObject(metav1.ObjectMeta{Name: "a"}))
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	corrections := make(chan int, 1)
	go func() {
		n := 0
		for e := range watch.ResultChan() {
			if e.Type == apiwatch.Deleted {
				break
			}
			if o := s.get(configMaps, "a"); o != nil && strings.Contains(fmt.Sprint(o.Object["data"]), "key:1") {
				n++
				s.patch(configMaps, "a", `{"data":{"key":"mine"}}`)
			}
		}
		corrections <- n
	}()
	// Each wait is twice as long as the one before: whoever looks late finds more corrections than three.
	w.awaitModifiedLike(key, regexp.MustCompile(`corrected [3-9] times and changed back each time \(\.data\.key, by the field manager stubborn\); the next correction is due at `))
	// Another object of the release is not made to wait.
	w.somebody().patch(configMaps, "b", `{"data":{"key":"2"}}`)
	s.awaitValue(configMaps, "b", "data.key", `"1"`)
	w.awaitModifiedLike(key, regexp.MustCompile(`corrected [4-9] times`))
	watch.Stop()
	if n := <-corrections; n > 9 {
		t.Errorf("it was corrected %d times", n)
	}
	s.awaitValue(configMaps, "a", "data.key", `"1"`) // when the time has come
	w.awaitReady(key)
}

func TestObjectThatIsDeletedAgainAndAgainIsMadeAnewLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(correcting))
	w.awaitReady(key)
	s := w.somebody()
	for range 4 {
		s.awaitValue(configMaps, "a", "data.key", `"1"`)
		if err := s.client.Resource(configMaps).Namespace(w.target).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitValue(configMaps, "a", "data.key", `"1"`)
	w.awaitReady(key)
	if bd, err := env.BundleDeployments.Get(t.Context(), key.Namespace, key.Name); err != nil || !strings.HasSuffix(bd.Status.Release, ":1") {
		t.Errorf("release %s, error %v", bd.Status.Release, err)
	}
}

// What is edited, or deleted, is told to the hub, and restored where that is
// asked for. How long it takes is logged here and measured by dev/bench.
func TestDriftIsNoticedAndCorrected(t *testing.T) {
	w := newWorld(t)
	w.start()
	plain := w.deploy("plain", manifest(map[string]string{"a.yaml": configMapYAML("plain", "1")}))
	corrected := w.deploy("corrected", manifest(map[string]string{"a.yaml": configMapYAML("corrected", "1")}).with(correcting))
	w.awaitReady(plain)
	w.awaitReady(corrected)
	s := w.somebody()
	took := func(what string, since time.Time) {
		t.Logf("%s after %s", what, time.Since(since).Round(time.Millisecond))
	}
	start := time.Now()
	s.patch(configMaps, "plain", `{"data":{"key":"2"}}`)
	w.awaitModified(plain, "modified")
	took("Modified on the hub", start)
	start = time.Now()
	s.patch(configMaps, "corrected", `{"data":{"key":"2"}}`)
	s.awaitValue(configMaps, "corrected", "data.key", `"1"`)
	took("edited and restored", start)
	start = time.Now()
	s.remove(configMaps, "corrected")
	s.awaitValue(configMaps, "corrected", "data.key", `"1"`)
	took("deleted and restored", start)
}
