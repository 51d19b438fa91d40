package agent

import (
	"maps"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const deploymentYAML = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "example.com/web:1"}]
`

func jobYAML(name, hooks, suspend string) string {
	return `apiVersion: batch/v1
kind: Job
metadata:
  name: ` + name + `
  annotations: {helm.sh/hook: "` + hooks + `"}
spec:
  suspend: ` + suspend + `
  template:
    spec:
      restartPolicy: Never
      containers: [{name: job, image: "example.com/job:1"}]
`
}

// withFiles returns a chart with more templates.
func withFiles(base map[string]string, more map[string]string) map[string]string {
	all := maps.Clone(base)
	for name, text := range more {
		all["templates/"+name] = text
	}
	return all
}

func helmOptions(edit func(*fleet.HelmOptions)) func(*fleet.BundleDeployment) {
	return func(bd *fleet.BundleDeployment) {
		if bd.Spec.Options.Helm == nil {
			bd.Spec.Options.Helm = &fleet.HelmOptions{}
		}
		edit(bd.Spec.Options.Helm)
	}
}

func TestWorkloadBecomesReadyWithItsPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": deploymentYAML}))
	w.awaitReady(key)
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
}

func TestHooksRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(withFiles(chart(chartTemplate), map[string]string{
		"install.yaml": jobYAML("before", "pre-install,pre-upgrade", "false"),
		"delete.yaml":  jobYAML("goodbye", "post-delete", "false"),
	})))
	w.awaitReady(key)
	if w.job("before") == nil {
		t.Error("the hook before the install did not run")
	}
	w.change(key, ask{files: withFiles(chart(chartTemplate), map[string]string{
		"install.yaml": jobYAML("before", "pre-install,pre-upgrade", "false"),
		"delete.yaml":  jobYAML("goodbye", "post-delete", "false"),
	}), values: `{"greeting":"two"}`})
	w.awaitReady(key)
	if w.job("goodbye") != nil {
		t.Error("the hook after the deletion ran before it")
	}
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	if w.job("goodbye") == nil {
		t.Error("the hook after the deletion did not run")
	}
}

func (w *world) job(name string) *batchv1.Job {
	w.t.Helper()
	list, err := env.Kubernetes.BatchV1().Jobs(w.target).List(w.t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(list.Items) == 0 {
		return nil
	}
	return &list.Items[0]
}

func TestHookThatHangsFailsAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	hanging := manifest(withFiles(chart(chartTemplate), map[string]string{"hook.yaml": jobYAML("{{ .Release.Name }}", "pre-install", "true")})).
		with(helmOptions(func(o *fleet.HelmOptions) { o.TimeoutSeconds = 3 }))
	// More of them than are worked on at once.
	var keys []types.NamespacedName
	for i := range agent.DefaultAtOnce + 2 {
		name := string(rune('a' + i))
		keys = append(keys, w.deploy(name, hanging.with(helmOptions(func(o *fleet.HelmOptions) { o.ReleaseName = "release-" + name }))))
	}
	harness.Eventually(t, "the first hook runs", runs(w, "release-a"))
	w.awaitAgentPast("other")
	for _, key := range keys {
		w.awaitFailed(key, "pre-install")
	}
}

func TestObjectsThatAreNotReadyInTimeFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	good := manifest(chart(chartTemplate)).with(helmOptions(func(o *fleet.HelmOptions) { o.TimeoutSeconds = 20 }))
	key := w.deploy("app", good)
	w.awaitReady(key)

	bad := manifest(withFiles(chart(chartTemplate), map[string]string{"claim.yaml": claimYAML("data")}))
	w.change(key, bad.with(helmOptions(func(o *fleet.HelmOptions) { o.TimeoutSeconds = 1 })))
	w.awaitFailed(key, "persistentvolumeclaim.v1 "+w.target+"/data was not ready within 1s")

	atomic := true
	w.change(key, bad.with(helmOptions(func(o *fleet.HelmOptions) { o.TimeoutSeconds, o.Atomic = 1, &atomic })))
	bd := w.awaitFailed(key, "rolled back")
	if bd.Status.AppliedDeploymentID == bd.Spec.DeploymentID {
		t.Error("what failed counts as applied")
	}
	w.change(key, good)
	w.awaitReady(key)
	w.assertNoClaim("data")
}
