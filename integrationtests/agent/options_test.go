package agent

import (
	"context"
	"fmt"
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func TestObjectThatNobodyOwnsIsTakenOnlyIfAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.make(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.target, Name: "theirs"}, Data: map[string]string{"key": "theirs", "more": "x"}})
	app := manifest(map[string]string{"a.yaml": configMapYAML("theirs", "1")})
	key := w.deploy("app", app)
	w.awaitFailed(key, `ConfigMap "theirs"`)
	if got := w.configMap("theirs").Data["key"]; got != "theirs" {
		t.Fatalf("the object was changed to %q", got)
	}
	w.change(key, app.with(takeOwnership))
	w.awaitReady(key)
	if got := w.configMap("theirs").Data["key"]; got != "1" {
		t.Errorf("the object is %q", got)
	}
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	if w.configMap("theirs") != nil {
		t.Error("the object that was taken over is left")
	}
}

func TestFailedUpgradeThatIsAtomicGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	atomic := helmOptions(func(o *fleet.HelmOptions) { yes := true; o.Atomic, o.TimeoutSeconds = &yes, 20 })
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(atomic))
	w.awaitReady(key)
	bad := map[string]string{
		"a.yaml": configMapYAML("a", "2"), "b.yaml": configMapYAML("new", "2"),
		"c.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999}]}\n",
	}
	w.change(key, manifest(bad).with(atomic))
	failed := w.awaitFailed(key, "rolled back")
	if failed.Status.Display.State != string(fleet.ErrApplied) {
		t.Errorf("state is %s", failed.Status.Display.State)
	}
	harness.Eventually(t, "all is as it was", func(context.Context) error {
		if cm := w.configMap("a"); cm == nil || cm.Data["key"] != "1" || w.configMap("new") != nil {
			return fmt.Errorf("it is %+v, and new is %v", cm, w.configMap("new") != nil)
		}
		return nil
	})
	first := w.deploy("first", manifest(bad).with(atomic).with(helmOptions(func(o *fleet.HelmOptions) { o.ReleaseName = "first" })).
		with(func(bd *fleet.BundleDeployment) { bd.Spec.Options.DefaultNamespace = w.makeNamespace("") }))
	w.awaitFailed(first, "s") // an install that fails leaves nothing either
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "3")}).with(atomic))
	w.awaitReady(key)
}

func TestJobsAreWaitedForIfAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	job := `apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers: [{name: job, image: "example.com/job:1"}]
`
	key := w.deploy("app", manifest(map[string]string{"j.yaml": job}).with(helmOptions(func(o *fleet.HelmOptions) {
		yes := true
		o.WaitForJobs, o.TimeoutSeconds = &yes, 60
	})))
	bd := env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionDeployed, Status: metav1.ConditionUnknown, Reason: "Deploying", Message: "waiting for at most 1m0s",
	})
	if status.IsTrue(bd.Status.Conditions, fleet.ConditionReady) {
		t.Error("it is ready before its job has run")
	}
	harness.Eventually(t, "the job may run", func(ctx context.Context) error {
		j := w.job("migrate")
		if j == nil {
			return fmt.Errorf("there is none")
		}
		no := false
		j.Spec.Suspend = &no
		_, err := env.Kubernetes.BatchV1().Jobs(w.target).Update(ctx, j, metav1.UpdateOptions{})
		return err
	})
	// That somebody let it run is drift, and waited for all the same.
	w.awaitModified(key, `job.batch `+w.target+`/migrate modified {"spec":{"suspend":true}}`)
	if j := w.job("migrate"); j == nil || !jobIsComplete(j) {
		t.Errorf("it is deployed, and its job is %+v", j)
	}
}

func jobIsComplete(j *batchv1.Job) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
}

func TestAsManyRevisionsAreKeptAsAskedFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ asked, kept int }{"three": {3, 3}, "not said": {0, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start()
			history := helmOptions(func(o *fleet.HelmOptions) { o.MaxHistory = test.asked })
			key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "0")}).with(history))
			w.awaitReady(key)
			for i := range 5 {
				w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", fmt.Sprint(i+1))}).with(history))
				w.awaitReady(key)
			}
			if got := len(w.records(w.target)); got != test.kept {
				t.Errorf("%d revisions are kept, want %d", got, test.kept)
			}
		})
	}
}

func TestTemplatesResolveNamesUnlessToldNotTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	template := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  address: {{ getHostByName \"localhost\" | quote }}\n"
	for name, disabled := range map[string]bool{"resolved": false, "unresolved": true} {
		key := w.deploy(name, manifest(chart(template)).with(helmOptions(func(o *fleet.HelmOptions) { o.DisableDNS = &disabled })))
		w.awaitReady(key)
		if address := w.configMap(name).Data["address"]; (address == "") != disabled {
			t.Errorf("with disableDNS %t the address is %q", disabled, address)
		}
	}
}

func TestValuesAreHeldAgainstTheSchemaUnlessToldNotTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	files := chart(chartTemplate)
	files["values.schema.json"] = `{"type":"object","properties":{"greeting":{"type":"string","maxLength":3}}}`
	long := ask{files: files, values: `{"greeting":"longer than three"}`}
	key := w.deploy("app", long)
	failed := w.awaitFailed(key, "greeting")
	for _, c := range failed.Status.Conditions {
		if c.Type == fleet.ConditionDeployed && slices.Contains([]string{"longer than three"}, c.Message) {
			t.Errorf("the condition tells the value: %s", c.Message)
		}
	}
	w.change(key, long.with(helmOptions(func(o *fleet.HelmOptions) { skip := true; o.SkipSchemaValidation = &skip })))
	w.awaitReady(key)
}

// The CRDs of a chart stay when the bundle goes, and with them what users made
// of their kinds, unless somebody asks to have them go.
func TestDefinitionsOfAChartStayUnlessAsked(t *testing.T) {
	t.Parallel()
	client, err := apiextensions.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	for name, remove := range map[string]bool{"stay": false, "go": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start()
			group := name + fmt.Sprintf("%x", []byte(w.target[len(w.target)-5:])) + ".example.com"
			crd := "plurals." + group
			text := `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + crd + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {plural: plurals, singular: plural, kind: Plural, listKind: PluralList}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`
			t.Cleanup(func() { _ = definitions.Delete(context.Background(), crd, metav1.DeleteOptions{}) })
			files := withFiles(chart(chartTemplate), map[string]string{"crd.yaml": text})
			key := w.deploy("app", manifest(files).with(func(bd *fleet.BundleDeployment) {
				bd.Spec.Options.DeleteCRDResources = &remove
			}))
			w.awaitReady(key)
			env.BundleDeployments.Remove(t, key)
			w.awaitRemoved(key)
			found, err := definitions.Get(t.Context(), crd, metav1.GetOptions{})
			there := err == nil && found.DeletionTimestamp == nil
			if err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
			if there == remove {
				t.Errorf("with deleteCRDResources %t the definition is there: %t", remove, there)
			}
		})
	}
}

// Hooks run by their weights, one after the other, before what they are hooks of.
func TestHooksRunInTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made, err := env.Kubernetes.CoreV1().ConfigMaps(w.target).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer made.Stop()
	w.start()
	hook := func(name, when, weight string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name +
			"\n  annotations: {helm.sh/hook: " + when + ", helm.sh/hook-weight: \"" + weight + "\"}\n"
	}
	key := w.deploy("app", manifest(withFiles(chart(chartTemplate), map[string]string{
		"a.yaml": hook("third", "post-install", "-5"), "b.yaml": hook("second", "pre-install", "10"), "c.yaml": hook("first", "pre-install", "-1"),
	})))
	w.awaitReady(key)
	var order []string
	for len(order) < 4 {
		select {
		case event := <-made.ResultChan():
			cm, ok := event.Object.(*corev1.ConfigMap)
			if ok && event.Type == watch.Added && cm.Name != "kube-root-ca.crt" {
				order = append(order, cm.Name)
			}
		case <-t.Context().Done():
			t.Fatalf("made were %v", order)
		}
	}
	if want := []string{"first", "second", "greeting", "third"}; !slices.Equal(order, want) {
		t.Errorf("the order was %v, want %v", order, want)
	}
}

// While a release moves to another name, its objects belong to the one or to the
// other at every moment, and none of them is ever gone.
func TestReleaseThatMovesLeavesNoGapOfOwnership(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	app := func(value string) ask { return manifest(map[string]string{"a.yaml": configMapYAML("a", value)}) }
	key := w.deploy("app", app("1"))
	w.awaitReady(key)
	events, err := env.Kubernetes.CoreV1().ConfigMaps(w.target).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=a"})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for i, name := range []string{"second", "third"} {
		w.change(key, app(fmt.Sprint(i+2)).with(helmOptions(func(o *fleet.HelmOptions) { o.ReleaseName = name })))
		w.awaitReady(key)
	}
	var owners []string
	for len(owners) == 0 || owners[len(owners)-1] != "third" {
		event := <-events.ResultChan()
		cm, ok := event.Object.(*corev1.ConfigMap)
		if !ok || event.Type == watch.Deleted {
			t.Fatalf("event is %s of %+v", event.Type, event.Object)
		}
		owner := cm.Annotations["meta.helm.sh/release-name"]
		if len(owners) == 0 || owners[len(owners)-1] != owner {
			owners = append(owners, owner)
		}
	}
	if want := []string{"app", "second", "third"}; !slices.Equal(owners, want) {
		t.Errorf("owners were %v, want %v", owners, want)
	}
	harness.Eventually(t, "the earlier releases are gone", func(context.Context) error {
		if n := len(w.records(w.target)); n != 1 {
			return fmt.Errorf("there are %d records", n)
		}
		return nil
	})
}
