package agent

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestDeploymentIsInstalledUpgradedAndRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()

	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("kept", "1"), "b.yaml": configMapYAML("dropped", "1")}))
	bd := w.awaitReady(key)
	if got, want := bd.Status.Release, w.target+"/app:1"; got != want {
		t.Errorf("release is %q, want %q", got, want)
	}
	if got := bd.Status.ResourceCounts; got != (fleet.ResourceCounts{Ready: 2, DesiredReady: 2}) {
		t.Errorf("resource counts are %+v", got)
	}
	if len(bd.Status.Resources) != 2 || bd.Status.Resources[0].CreatedAt.IsZero() {
		t.Errorf("resources are %+v", bd.Status.Resources)
	}
	if d := bd.Status.Display; d.Deployed != "True" || d.Monitored != "True" || d.State != "Ready" {
		t.Errorf("display is %+v", d)
	}
	live := w.configMap("kept")
	if live == nil || live.Data["key"] != "1" {
		t.Fatalf("the ConfigMap is %+v", live)
	}
	if live.Labels[names.LabelObjectSetHash] == "" || live.Annotations[names.AnnotationObjectSetID] == "" {
		t.Errorf("the ConfigMap has not the marks of its object set: %v %v", live.Labels, live.Annotations)
	}
	record := w.records(w.target)[0]
	for label, want := range map[string]string{
		names.LabelDeployment: "app", names.LabelDeploymentUID: string(bd.UID), names.LabelHub: hubID, names.LabelReleaseAgent: w.agent,
	} {
		if record.Labels[label] != want {
			t.Errorf("label %s of the record is %q, want %q", label, record.Labels[label], want)
		}
	}

	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("kept", "2"), "c.yaml": configMapYAML("added", "2")}))
	bd = w.awaitReady(key)
	if got, want := bd.Status.Release, w.target+"/app:2"; got != want {
		t.Errorf("release is %q, want %q", got, want)
	}
	if w.configMap("kept").Data["key"] != "2" || w.configMap("added") == nil || w.configMap("dropped") != nil {
		t.Errorf("the upgrade did not change, add and drop what it should")
	}

	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	if w.configMap("kept") != nil || w.configMap("added") != nil {
		t.Errorf("objects are left")
	}
	if left := w.records(w.target); len(left) > 0 {
		t.Errorf("%d records are left", len(left))
	}
}

func TestNothingIsInstalledWithoutFinalizer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	bd := w.deployment("app")
	w.fill(bd, manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	key := harness.KeyOf(env.BundleDeployments.Make(t, bd))
	env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionDeployed, Status: metav1.ConditionUnknown, Reason: "NoFinalizer",
	})
	if w.configMap("a") != nil {
		t.Fatal("it was installed")
	}
	env.BundleDeployments.Edit(t, key, func(bd *fleet.BundleDeployment) { bd.Finalizers = []string{names.FinalizerDeployment} })
	w.awaitReady(key)
}

func TestPausedDeploymentIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")})
	key := w.deploy("app", app)
	w.awaitReady(key)
	paused := func(bd *fleet.BundleDeployment) { bd.Spec.Paused = true }
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "2")}).with(paused))
	env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionDeployed, Status: metav1.ConditionUnknown, Reason: "Paused",
	})
	if got := w.configMap("a").Data["key"]; got != "1" {
		t.Errorf("the object was changed to %q", got)
	}
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "2")}))
	w.awaitReady(key)
	if got := w.configMap("a").Data["key"]; got != "2" {
		t.Errorf("after resuming the object is %q", got)
	}
}

func TestRestartWithNothingToDoWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	var keys []string
	for _, name := range []string{"one", "two", "three"} {
		key := w.deploy(name, manifest(map[string]string{"a.yaml": configMapYAML(name, "1")}))
		w.awaitReady(key)
		keys = append(keys, key.Name)
	}
	w.stop()
	versions := map[string]string{}
	for _, bd := range env.BundleDeployments.All(t, w.namespace, nil).Items {
		versions[bd.Name] = bd.ResourceVersion
	}
	before := len(w.line.made())
	w.start()
	// What comes after the others were looked at shows that they were.
	last := w.deploy("last", manifest(map[string]string{"a.yaml": configMapYAML("last", "1")}))
	w.awaitReady(last)
	for _, bd := range env.BundleDeployments.All(t, w.namespace, nil).Items {
		if was, ok := versions[bd.Name]; ok && was != bd.ResourceVersion {
			t.Errorf("deployment %s was written", bd.Name)
		}
	}
	for _, write := range w.line.made()[before:] {
		for _, name := range keys {
			if strings.HasSuffix(write, "/"+name) || strings.Contains(write, "."+name+".") {
				t.Errorf("the agent wrote %s", write)
			}
		}
	}
}
