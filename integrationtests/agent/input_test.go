package agent

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	pkgkube "github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// slowTemplate loops for about half a minute, and writes nothing.
const slowTemplate = `{{ range until 10000 }}{{ range until 20000 }}{{ end }}{{ end }}`

func TestTemplatesThatTakeTooLongHoldNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure = func(c *agent.Config) { c.RenderTimeout, c.AtOnce = time.Second, 1 }
	w.start()
	key := w.deploy("slow", manifest(chart(slowTemplate)))
	w.awaitFailed(key, "the templates of the chart took longer than 1s: change what they loop over")
	w.awaitAgentPast("other")
	w.change(key, manifest(chart(chartTemplate)))
	w.awaitReady(key)
	if len(w.records(w.target)) != 2 {
		t.Errorf("there are %d records", len(w.records(w.target)))
	}
}

func TestReleaseThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	noise := make([]byte, 400<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(noise)
	small := manifest(chart(chartTemplate))
	key := w.deploy("app", small)
	w.awaitReady(key)
	// It fits into a Content, but not into Helm's record, which has it twice: as a template, and as an object.
	w.change(key, manifest(withFiles(chart(chartTemplate), map[string]string{
		"noise.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: noise}\ndata:\n  noise: " + text + "\n",
	})))
	w.awaitFailed(key, "and a Secret holds 1024 KiB; split the bundle into several")
	if w.configMap("noise") != nil {
		t.Error("something of it was installed")
	}
	w.awaitAgentPast("other")
	w.change(key, small)
	w.awaitReady(key)

	// An object alone can be too large, too. This one compresses well.
	w.change(key, manifest(map[string]string{"huge.yaml": configMapYAML("huge", strings.Repeat("x", 1<<20+1))}))
	w.awaitFailed(key, "configmap.v1 "+w.target+"/huge: ")
}

func TestHookThatFailsIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	hook := `apiVersion: v1
kind: Pod
metadata:
  name: check
  annotations: {helm.sh/hook: pre-install, helm.sh/hook-delete-policy: before-hook-creation}
spec:
  schedulerName: nobody
  restartPolicy: Never
  containers: [{name: check, image: "example.com/check:1"}]
`
	key := w.deploy("app", manifest(withFiles(chart(chartTemplate), map[string]string{"hook.yaml": hook})))
	end := func(phase corev1.PodPhase) {
		t.Helper()
		harness.Eventually(t, "the hook has "+string(phase), func(ctx context.Context) error {
			pod, err := env.Kubernetes.CoreV1().Pods(w.target).Get(ctx, "check", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if pod.Status.Phase == corev1.PodFailed && phase == corev1.PodSucceeded {
				return fmt.Errorf("it is the one that failed")
			}
			pod.Status.Phase = phase
			_, err = env.Kubernetes.CoreV1().Pods(w.target).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
			return err
		})
	}
	end(corev1.PodFailed)
	w.awaitFailed(key, "check")
	w.awaitAgentPast("other")
	if w.configMap("greeting") != nil {
		t.Error("it was installed although the hook failed")
	}
	end(corev1.PodSucceeded)
	w.awaitReady(key)
}

// here returns what limits admission to the objects of the target namespace.
func (w *world) here() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.target}}
}

func TestObjectThatAPolicyRefusesIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	policies := env.Kubernetes.AdmissionregistrationV1()
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.target},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: configMapRules()},
			Validations: []admissionregistrationv1.Validation{{
				Expression: "!has(object.data) || !('forbidden' in object.data)", Message: "nobody may say that",
			}},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.target},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: w.target, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: w.here()},
		},
	}
	if _, err := policies.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = policies.ValidatingAdmissionPolicyBindings().Delete(context.Background(), w.target, metav1.DeleteOptions{})
		_ = policies.ValidatingAdmissionPolicies().Delete(context.Background(), w.target, metav1.DeleteOptions{})
	})
	refused := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {forbidden: x}\n"
	}
	harness.Eventually(t, "the policy holds", func(ctx context.Context) error {
		_, err := env.Kubernetes.CoreV1().ConfigMaps(w.target).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-"}, Data: map[string]string{"forbidden": "x"},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return fmt.Errorf("it was not refused")
		}
		return nil
	})
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1"), "bad.yaml": refused("bad")}))
	w.awaitFailed(key, "creating configmap.v1 "+w.target+"/bad: ")
	w.awaitFailed(key, "nobody may say that")
	w.awaitAgentPast("other")
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "1"), "bad.yaml": configMapYAML("bad", "1")}))
	w.awaitReady(key)
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "2"), "bad.yaml": refused("bad")}))
	w.awaitFailed(key, "changing configmap.v1 "+w.target+"/bad: ")
}

func configMapRules() []admissionregistrationv1.NamedRuleWithOperations {
	return []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
	}}}
}

func TestWebhookThatIsAwayIsSaidAndWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure = func(c *agent.Config) { c.LongestRetry = 2 * time.Second }
	w.start()
	url, fail, none, timeout := "https://127.0.0.1:1/validate", admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone, int32(2)
	webhooks := env.Kubernetes.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := webhooks.Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.target},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "away.example.com", ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url},
			Rules:             []admissionregistrationv1.RuleWithOperations{configMapRules()[0].RuleWithOperations},
			NamespaceSelector: w.here(), FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout,
			AdmissionReviewVersions: []string{"v1"},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	remove := func() { _ = webhooks.Delete(context.Background(), w.target, metav1.DeleteOptions{}) }
	t.Cleanup(remove)
	harness.Eventually(t, "the webhook is asked", func(ctx context.Context) error {
		_, err := env.Kubernetes.CoreV1().ConfigMaps(w.target).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-"},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return fmt.Errorf("it was not")
		}
		return nil
	})
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	w.awaitFailed(key, "creating configmap.v1 "+w.target+"/a: ")
	w.awaitFailed(key, `failed calling webhook "away.example.com"`)
	elsewhere := w.makeNamespace("")
	other := w.deploy("other", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(func(bd *fleet.BundleDeployment) {
		bd.Spec.Options.DefaultNamespace = elsewhere
	}))
	w.awaitReady(other)
	remove()
	w.awaitReady(key)
}

func TestFieldThatCannotBeChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	fixed := func(value string) map[string]string {
		return map[string]string{
			"a.yaml": "immutable: true\n" + configMapYAML("fixed", value), "b.yaml": configMapYAML("free", value),
		}
	}
	key := w.deploy("app", manifest(fixed("1")))
	w.awaitReady(key)
	was := w.configMap("fixed").UID
	w.change(key, manifest(fixed("2")))
	w.awaitFailed(key, "changing configmap.v1 "+w.target+"/fixed: ")
	w.awaitFailed(key, "give it another name, or set helm.force to have it deleted and made anew")
	if cm := w.configMap("fixed"); cm == nil || cm.UID != was || cm.Data["key"] != "1" {
		t.Errorf("the object is %+v", cm)
	}
	w.awaitAgentPast("other")

	force := helmOptions(func(o *fleet.HelmOptions) { yes := true; o.Force = &yes })
	w.change(key, manifest(fixed("2")).with(force))
	w.awaitReady(key)
	if cm := w.configMap("fixed"); cm == nil || cm.UID == was || cm.Data["key"] != "2" {
		t.Errorf("the object is %+v", cm)
	}
	if cm := w.configMap("free"); cm == nil || cm.Data["key"] != "2" {
		t.Errorf("the other object is %+v", cm)
	}
	// What is to be kept is not deleted, whatever is forced.
	kept := "immutable: true\n" + strings.Replace(configMapYAML("kept", "1"), "name: kept", "name: kept\n  annotations: {helm.sh/resource-policy: keep}", 1)
	w.change(key, manifest(map[string]string{"k.yaml": kept}).with(force))
	w.awaitReady(key)
	w.change(key, manifest(map[string]string{"k.yaml": strings.Replace(kept, `"1"`, `"2"`, 1)}).with(force))
	w.awaitFailed(key, "configmap.v1 "+w.target+"/kept: ")
	if cm := w.configMap("kept"); cm == nil || cm.Data["key"] != "1" {
		t.Errorf("the object that is to be kept is %+v", cm)
	}
}

func TestKindThatAppearsLaterIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	group := "late" + strings.ReplaceAll(w.target, "-", "") + ".example.com"
	key := w.deploy("app", manifest(map[string]string{
		"w.yaml": "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: w}\n", "a.yaml": configMapYAML("a", "1"),
	}))
	w.awaitFailed(key, "Widget")
	if w.configMap("a") != nil {
		t.Error("a part of it was installed")
	}
	w.awaitAgentPast("other")
	client, err := apiextensions.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	structural := true
	made := time.Now()
	_, err = client.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "WidgetList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
					OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &structural},
				},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.ApiextensionsV1().CustomResourceDefinitions().Delete(context.Background(), "widgets."+group, metav1.DeleteOptions{})
	})
	w.awaitReady(key)
	t.Logf("deployed %s after its kind was defined", time.Since(made).Round(time.Millisecond))
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
}

func TestManifestWithThousandsOfObjects(t *testing.T) {
	harness.Long(t)
	t.Parallel()
	w := newWorld(t)
	w.start()
	const objects = 5000
	many := func(value string) ask {
		var text strings.Builder
		for i := range objects {
			text.WriteString("---\n" + configMapYAML(fmt.Sprintf("many-%04d", i), value))
		}
		return manifest(map[string]string{"many.yaml": text.String()})
	}
	begun := time.Now()
	key := w.deploy("many", many("1"))
	w.awaitAgentPast("other")
	t.Logf("another was ready after %s", time.Since(begun).Round(time.Millisecond))
	w.awaitLong(key, runsIt)
	t.Logf("%d objects were ready after %s", objects, time.Since(begun).Round(time.Millisecond))
	bd, err := env.BundleDeployments.Get(t.Context(), key.Namespace, key.Name)
	if err != nil {
		t.Fatal(err)
	}
	if s := bd.Status; len(s.Resources) != 500 || !s.IncompleteState || s.ResourceCounts.DesiredReady != objects {
		t.Errorf("listed are %d of %d, incomplete %t", len(s.Resources), s.ResourceCounts.DesiredReady, s.IncompleteState)
	}
	changed := time.Now()
	w.change(key, many("2"))
	w.awaitLong(key, runsIt)
	t.Logf("they were changed after %s", time.Since(changed).Round(time.Millisecond))
	removed := time.Now()
	env.BundleDeployments.Remove(t, key)
	w.awaitLong(key, func(bd *fleet.BundleDeployment) bool {
		return status.IsTrue(bd.Status.Conditions, fleet.ConditionRemoved)
	})
	w.awaitRemoved(key)
	t.Logf("they were gone after %s", time.Since(removed).Round(time.Millisecond))
	if list, err := env.Kubernetes.CoreV1().ConfigMaps(w.target).List(t.Context(), metav1.ListOptions{LabelSelector: "objectset.rio.cattle.io/hash"}); err != nil || len(list.Items) > 1 {
		t.Errorf("%d objects are left: %v", len(list.Items), err)
	}
}

// runsIt says whether what is asked for now is deployed and ready.
func runsIt(bd *fleet.BundleDeployment) bool {
	return bd.Status.AppliedDeploymentID == bd.Spec.DeploymentID && bd.Status.Ready && status.IsTrue(bd.Status.Conditions, fleet.ConditionReady)
}

// awaitLong waits for what takes long where many others use the machine.
func (w *world) awaitLong(key pkgkube.Key, ok func(*fleet.BundleDeployment) bool) {
	w.t.Helper()
	for range 8 {
		err := wait(w.t.Context(), func() bool {
			bd, err := env.BundleDeployments.Get(w.t.Context(), key.Namespace, key.Name)
			return err == nil && ok(bd)
		})
		if err == nil {
			return
		}
	}
	w.t.Fatalf("waited in vain for %s", key)
}
