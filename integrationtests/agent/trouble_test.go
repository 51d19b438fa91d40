package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// chart returns the files of a Helm chart with one ConfigMap.
func chart(template string) map[string]string {
	return map[string]string{
		"Chart.yaml":          "apiVersion: v2\nname: app\nversion: 0.1.0\n",
		"values.yaml":         "greeting: hello\n",
		"templates/main.yaml": template,
	}
}

const chartTemplate = `apiVersion: v1
kind: ConfigMap
metadata:
  name: greeting
data:
  text: {{ .Values.greeting | quote }}
  found: {{ (lookup "v1" "Namespace" "" "kube-system") | len | quote }}
`

func TestMissingContentIsSaidAndRecovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	files := map[string]string{"a.yaml": configMapYAML("a", w.target)} // a content of the test's own
	content := w.content(files)
	env.Contents.Remove(t, types.NamespacedName{Name: content.Name})
	bd := w.deployment("app")
	bd.Finalizers = []string{"fleet.cattle.io/bundle-deployment-finalizer"}
	bd.Spec.DeploymentID = content.Name + ":0000"
	key := harness.KeyOf(env.BundleDeployments.Make(t, bd))
	failed := w.awaitFailed(key, "the content of the bundle is not on the hub")
	for _, c := range failed.Status.Conditions {
		if strings.Contains(c.Message, content.Name) {
			t.Errorf("condition %s tells the name of the content", c.Type)
		}
	}
	w.content(files)
	w.awaitDeployed(key)
}

func TestContentThatIsNotWhatItsNamePromisesIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	promised, other := contentOf(t, map[string]string{"a.yaml": configMapYAML("a", w.target)}), contentOf(t, map[string]string{"a.yaml": configMapYAML("evil", "1")})
	promised.Content = other.Content
	env.Contents.Make(t, promised)
	bd := w.deployment("app")
	bd.Finalizers = []string{"fleet.cattle.io/bundle-deployment-finalizer"}
	bd.Spec.DeploymentID = promised.Name + ":0000"
	w.awaitFailed(harness.KeyOf(env.BundleDeployments.Make(t, bd)), "digest")
	if w.configMap("evil") != nil {
		t.Error("it was installed")
	}
}

func TestBadInputFailsThatDeploymentAloneAndKeepsWhatRan(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		bad  map[string]string
		says string
	}{
		{name: "a template that fails", bad: chart("{{ fail \"no way\" }}"), says: "no way"},
		{name: "YAML that does not parse", bad: map[string]string{"b.yaml": "a: [\n"}, says: "b.yaml"},
		{name: "a kind that is not served", bad: map[string]string{"b.yaml": "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n"}, says: "Widget"},
		{name: "an object that the API server refuses", bad: map[string]string{"b.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999}]}\n"}, says: "port"},
		{name: "a namespace that may not be", bad: map[string]string{"b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: does-not-exist}\n"}, says: "does-not-exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start()
			good := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")})
			key := w.deploy("app", good)
			w.awaitReady(key)
			w.change(key, manifest(test.bad))
			bd := w.awaitFailed(key, test.says)
			if bd.Status.Display.State != string(fleet.ErrApplied) {
				t.Errorf("state is %s", bd.Status.Display.State)
			}
			w.awaitAgentPast("other")
			if cm := w.configMap("a"); cm == nil || cm.Data["key"] != "1" {
				t.Errorf("what ran before is %+v", cm)
			}
			w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "2")}))
			w.awaitReady(key)
		})
	}
}

// What a failed upgrade made is gone when the next one succeeds, although that
// one never heard of it.
func TestLeftoversOfFailedUpgradesGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	w.awaitReady(key)
	for i := range 4 {
		name := fmt.Sprintf("left-%d", i)
		w.change(key, manifest(map[string]string{
			"a.yaml": configMapYAML(name, "1"),
			"b.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999}]}\n",
		}))
		w.awaitFailed(key, "port")
	}
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "2")}))
	w.awaitReady(key)
	for i := range 4 {
		if name := fmt.Sprintf("left-%d", i); w.configMap(name) != nil {
			t.Errorf("%s is left", name)
		}
	}
	if records := w.records(w.target); len(records) > 2 {
		t.Errorf("%d revisions are kept", len(records))
	}
}

func TestReleaseOfSomebodyElseIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	named := func(bd *fleet.BundleDeployment) { bd.Spec.Options.Helm = &fleet.HelmOptions{ReleaseName: "shared"} }
	first := w.deploy("first", manifest(map[string]string{"a.yaml": configMapYAML("first", "1")}).with(named))
	w.awaitReady(first)
	second := w.deploy("second", manifest(map[string]string{"a.yaml": configMapYAML("second", "1")}).with(named))
	w.awaitFailed(second, "release name "+w.target+"/shared is taken")
	// When the name is free the other one gets it, at once.
	env.BundleDeployments.Remove(t, first)
	w.awaitRemoved(first)
	w.awaitReady(second)
	env.BundleDeployments.Remove(t, second)
	w.awaitRemoved(second)
	if w.configMap("second") != nil {
		t.Error("the workload is left")
	}
}

func TestValuesComeFromTheHubAndFromTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	const canary = "canary-of-the-hub"
	key := w.deploy("app", ask{files: chart(chartTemplate), values: `{"greeting":"` + canary + `"}`})
	bd := w.awaitReady(key)
	cm := w.configMap("greeting")
	if cm.Data["text"] != canary {
		t.Errorf("the value is %q", cm.Data["text"])
	}
	if cm.Data["found"] != "0" {
		t.Errorf("lookup found something: %q", cm.Data["found"])
	}
	for _, c := range bd.Status.Conditions {
		if strings.Contains(c.Message, canary) {
			t.Errorf("condition %s tells the value", c.Type)
		}
	}

	// The Secret is not the one that the deployment means: wait, do not guess.
	w.change(key, ask{files: chart(chartTemplate), values: `{"greeting":"two"}`, edit: nil})
	w.awaitReady(key)
	env.BundleDeployments.Edit(t, key, func(bd *fleet.BundleDeployment) {
		bd.Spec.ValuesHash, bd.Spec.DeploymentID = "0000", bd.Spec.DeploymentID+"0"
	})
	env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionDeployed, Status: metav1.ConditionUnknown, Reason: "WaitingForValues",
	})

	refs := func(bd *fleet.BundleDeployment) {
		bd.Spec.Options.Helm = &fleet.HelmOptions{ValuesFrom: []fleet.ValuesFrom{{
			ConfigMapKeyRef: &fleet.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "more"}, Key: "v"},
		}}}
	}
	w.change(key, ask{files: chart(chartTemplate), values: `{"greeting":"three"}`}.with(refs))
	w.awaitFailed(key, "reading ConfigMap "+w.target+"/more")
	w.make(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.target, Name: "more"}, Data: map[string]string{"v": "greeting: four\n"}})
	w.awaitReady(key)
	if got := w.configMap("greeting").Data["text"]; got != "four" {
		t.Errorf("the value is %q", got)
	}
}

func TestErrorsDoNotTellValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	const canary = "s3cr3t-canary-value"
	key := w.deploy("app", ask{files: chart(`{{ fail (printf "cannot use %s" .Values.password) }}`), values: `{"password":"` + canary + `"}`})
	bd := w.awaitFailed(key, "cannot use <redacted>")
	for _, c := range bd.Status.Conditions {
		if strings.Contains(c.Message, canary) {
			t.Errorf("condition %s tells the value", c.Type)
		}
	}
}

func TestDependencyIsWaitedForNotComplainedAbout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	top := w.deploy("top", manifest(map[string]string{"a.yaml": configMapYAML("top", "1")}).with(func(bd *fleet.BundleDeployment) {
		bd.Spec.DependsOn = []fleet.BundleRef{{Name: "base"}}
	}))
	bd := env.BundleDeployments.AwaitCondition(t, top, fleet.Condition{
		Type: fleet.ConditionDeployed, Status: metav1.ConditionUnknown, Reason: "WaitingForDependency", Message: "base",
	})
	if bd.Status.Display.State != string(fleet.WaitApplied) {
		t.Errorf("state is %s", bd.Status.Display.State)
	}
	// A volume claim is not ready before it is bound.
	base := w.deploy("base", manifest(map[string]string{"a.yaml": claimYAML("base")}))
	env.BundleDeployments.Await(t, base, notReady("persistentvolumeclaim.v1 "+w.target+"/base [progressing]"))
	if w.configMap("top") != nil {
		t.Error("it was installed before what it depends on is ready")
	}
	w.bind("base")
	w.awaitReady(base)
	w.awaitReady(top)
}

func claimYAML(name string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: " + name + "}\n" +
		"spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}\n"
}

// bind plays the part of a storage provider.
func (w *world) bind(claim string) { w.setClaimPhase(claim, corev1.ClaimBound) }

func (w *world) setClaimPhase(claim string, phase corev1.PersistentVolumeClaimPhase) {
	w.t.Helper()
	api := env.Kubernetes.CoreV1().PersistentVolumeClaims(w.target)
	harness.Eventually(w.t, "the claim is "+string(phase), func(ctx context.Context) error {
		pvc, err := api.Get(ctx, claim, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pvc.Status.Phase = phase
		_, err = api.UpdateStatus(ctx, pvc, metav1.UpdateOptions{})
		return err
	})
}

func notReady(message string) func(*fleet.BundleDeployment) error {
	return func(bd *fleet.BundleDeployment) error {
		for _, c := range bd.Status.Conditions {
			if c.Type == fleet.ConditionReady && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, message) {
				return nil
			}
		}
		return fmt.Errorf("it does not say %q: %+v", message, bd.Status.Conditions)
	}
}

func TestReadinessFollowsTheObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": claimYAML("data"), "b.yaml": configMapYAML("a", "1")}))
	bd := env.BundleDeployments.Await(t, key, notReady("data [progressing]"))
	if bd.Status.Display.State != string(fleet.NotReady) || bd.Status.Ready || len(bd.Status.NonReadyStatus) != 1 {
		t.Errorf("status is %+v", bd.Status)
	}
	for range 3 {
		w.setClaimPhase("data", corev1.ClaimBound)
		w.awaitReady(key)
		w.setClaimPhase("data", corev1.ClaimPending)
		env.BundleDeployments.Await(t, key, notReady("data [progressing]"))
	}
	w.setClaimPhase("data", corev1.ClaimBound)
	w.awaitReady(key)

	if err := env.Kubernetes.CoreV1().ConfigMaps(w.target).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	bd = env.BundleDeployments.Await(t, key, notReady("configmap.v1 "+w.target+"/a missing"))
	if bd.Status.Display.State != string(fleet.Modified) || bd.Status.NonModified || bd.Status.ResourceCounts.Missing != 1 {
		t.Errorf("status is %+v", bd.Status)
	}
}

func TestDeploymentActsAsItsServiceAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	as := func(bd *fleet.BundleDeployment) { bd.Spec.Options.ServiceAccount = "tenant" }
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(as)
	key := w.deploy("app", app)
	w.awaitFailed(key, "system:serviceaccount:"+w.agent+":tenant")
	if w.configMap("a") != nil {
		t.Fatal("it was installed as somebody else")
	}
	w.allow("tenant", w.target)
	w.awaitReady(key)
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
}

// allow lets a service account of the agent's namespace handle ConfigMaps in a
// namespace.
func (w *world) allow(serviceAccount, namespace string) {
	w.t.Helper()
	rbac := env.Kubernetes.RbacV1()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.agent, Name: serviceAccount}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: serviceAccount},
	}
	if _, err := rbac.Roles(namespace).Create(w.t.Context(), role, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := rbac.RoleBindings(namespace).Create(w.t.Context(), binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
}

func TestReleaseThatIsRenamedKeepsItsObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	files := map[string]string{"a.yaml": configMapYAML("a", "1"), "b.yaml": configMapYAML("b", "1")}
	key := w.deploy("app", manifest(files))
	w.awaitReady(key)
	uid := w.configMap("a").UID
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "2")}).with(func(bd *fleet.BundleDeployment) {
		bd.Spec.Options.Helm = &fleet.HelmOptions{ReleaseName: "renamed"}
	}))
	bd := w.awaitReady(key)
	if got := bd.Status.Release; got != w.target+"/renamed:1" {
		t.Errorf("release is %s", got)
	}
	if cm := w.configMap("a"); cm.UID != uid || cm.Data["key"] != "2" {
		t.Errorf("the object was made anew, or not changed: %+v", cm)
	}
	harness.Eventually(t, "the earlier release is gone", func(context.Context) error {
		for _, record := range w.records(w.target) {
			if record.Labels["name"] == "app" {
				return fmt.Errorf("record %s is there", record.Name)
			}
		}
		if w.configMap("b") != nil {
			return fmt.Errorf("what only the earlier release held is there")
		}
		return nil
	})

	elsewhere := w.makeNamespace("")
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "3")}).with(func(bd *fleet.BundleDeployment) {
		bd.Spec.Options.DefaultNamespace = elsewhere
	}))
	w.awaitReady(key)
	harness.Eventually(t, "it has moved to another namespace", func(context.Context) error {
		if w.configMap("a") != nil || len(w.records(w.target)) > 0 {
			return fmt.Errorf("something is left in the former namespace")
		}
		return nil
	})
	if cm := w.configMapIn(elsewhere, "a"); cm == nil || cm.Data["key"] != "3" {
		t.Errorf("the object is %+v", cm)
	}
}
