package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// What follows an event shows that the event was seen: a deployment that is
// made after it and ready means that the agent is past it.
func (w *world) awaitAgentPast(name string) {
	w.t.Helper()
	key := w.deploy(name, manifest(map[string]string{"m.yaml": configMapYAML(name, "1")}))
	w.awaitReady(key)
}

func TestDeploymentThatIsMissingRemovesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")})
	key := w.deploy("app", app)
	was := w.awaitReady(key)

	// Somebody takes the finalizer off by force: the deployment is gone and nobody told the agent to remove it.
	w.stop()
	w.unpin(key)
	env.BundleDeployments.Remove(t, key)
	env.BundleDeployments.AwaitGone(t, key)
	w.start()
	w.awaitAgentPast("later")
	if w.configMap("a") == nil {
		t.Fatal("the workload was removed without evidence")
	}

	// The deployment comes back, as another one: it takes over what is there.
	w.deploy("app", app)
	now := w.awaitReady(key)
	if now.Status.Release != was.Status.Release {
		t.Errorf("it was installed again: release is %s, was %s", now.Status.Release, was.Status.Release)
	}
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	if w.configMap("a") != nil {
		t.Error("the workload is left")
	}
}

func TestDeploymentMadeAnewAdoptsWhileTheAgentIsRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")})
	key := w.deploy("app", app)
	w.awaitReady(key)
	uid := w.configMap("a").UID
	w.unpin(key)
	env.BundleDeployments.Remove(t, key)
	env.BundleDeployments.AwaitGone(t, key)
	w.deploy("app", app)
	bd := w.awaitReady(key)
	if got := bd.Status.Release; got != w.target+"/app:1" {
		t.Errorf("release is %s", got)
	}
	if w.configMap("a").UID != uid {
		t.Error("the object was made anew")
	}
	w.awaitOwned(bd)
}

// awaitOwned waits until the only record of the target namespace names the
// deployment.
func (w *world) awaitOwned(bd *fleet.BundleDeployment) {
	w.t.Helper()
	harness.Eventually(w.t, "the record names the deployment", func(context.Context) error {
		if got := w.records(w.target)[0].Labels[names.LabelDeploymentUID]; got != string(bd.UID) {
			return fmt.Errorf("it names %s", got)
		}
		return nil
	})
}

// Nothing is installed for a deployment that is paused, but what the one before
// it has left is its own, and goes with it.
func TestDeploymentMadeAnewAdoptsWhilePaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	w.awaitReady(key)
	w.unpin(key)
	env.BundleDeployments.Remove(t, key)
	env.BundleDeployments.AwaitGone(t, key)

	w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "2")}).with(func(bd *fleet.BundleDeployment) {
		bd.Spec.Paused = true
	}))
	bd := env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionDeployed, Status: metav1.ConditionUnknown, Reason: "Paused",
	})
	w.awaitOwned(bd)
	if got := w.configMap("a").Data["key"]; got != "1" {
		t.Errorf("the object was changed to %q", got)
	}
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	if w.configMap("a") != nil {
		t.Error("the workload is left")
	}
}

func TestReleaseOfAnEarlierDeploymentIsUnclaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")})
	key := w.deploy("app", app)
	w.awaitReady(key)
	w.stop()
	w.unpin(key)
	env.BundleDeployments.Remove(t, key)
	env.BundleDeployments.AwaitGone(t, key)
	// Made and deleted again before the agent sees it: the release was not made for this one.
	w.deploy("app", app)
	env.BundleDeployments.Remove(t, key)
	w.start()
	bd := env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionTrue})
	if w.configMap("a") == nil {
		t.Error("the workload of the earlier deployment was removed")
	}
	for _, c := range bd.Status.Conditions {
		if c.Type == fleet.ConditionRemoved && !strings.Contains(c.Message, "unclaimed") {
			t.Errorf("the condition does not tell: %s", c.Message)
		}
	}
	w.unpin(key)
}

// The deployment is marked for deletion, but the hub is not in a state that
// could be trusted with that.
func TestNothingIsRemovedWhileTheHubIsInDoubt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		says string
		// doubt makes the hub doubtful, trust puts it right again.
		doubt, trust func(*testing.T, *world)
	}{
		{
			name: "the Cluster is gone", says: "Cluster is absent",
			doubt: func(t *testing.T, w *world) {
				env.Clusters.Remove(t, harness.KeyOf(w.cluster))
				env.Clusters.AwaitGone(t, harness.KeyOf(w.cluster))
			},
			trust: func(t *testing.T, w *world) {
				env.Clusters.Make(t, harness.NewCluster(w.workspace, w.cluster.Name, nil))
			},
		},
		{
			name: "the Cluster is being deleted", says: "Cluster is terminating",
			doubt: func(t *testing.T, w *world) {
				env.Clusters.Edit(t, harness.KeyOf(w.cluster), func(c *fleet.Cluster) { c.Finalizers = []string{names.FinalizerCluster} })
				env.Clusters.Remove(t, harness.KeyOf(w.cluster))
			},
			trust: func(t *testing.T, w *world) {
				env.Clusters.Edit(t, harness.KeyOf(w.cluster), func(c *fleet.Cluster) { c.Finalizers = nil })
				env.Clusters.AwaitGone(t, harness.KeyOf(w.cluster))
				env.Clusters.Make(t, harness.NewCluster(w.workspace, w.cluster.Name, nil))
			},
		},
		{
			name: "the namespace is being deleted", says: "namespace is terminating",
			doubt: func(t *testing.T, w *world) {
				if err := env.Kubernetes.CoreV1().Namespaces().Delete(t.Context(), w.namespace, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start()
			key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
			w.awaitReady(key)
			w.stop()
			test.doubt(t, w)
			bd, err := env.BundleDeployments.Get(t.Context(), key.Namespace, key.Name)
			if err != nil {
				t.Fatal(err)
			}
			if bd.DeletionTimestamp == nil {
				env.BundleDeployments.Remove(t, key)
			}
			w.start()
			env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
				Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse, Reason: "Refused", Message: test.says,
			})
			if w.configMap("a") == nil || len(w.records(w.target)) == 0 {
				t.Fatal("the workload was removed")
			}
			if test.trust == nil {
				w.unpin(key)
				return
			}
			test.trust(t, w)
			// The agent asks again in a minute, or when it starts.
			w.restart()
			w.awaitRemoved(key)
			if w.configMap("a") != nil {
				t.Error("the workload is left")
			}
		})
	}
}

func TestStuckObjectIsNamedAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	stuck := w.deploy("stuck", manifest(map[string]string{"a.yaml": configMapYAML("held", "1"), "b.yaml": configMapYAML("free", "1")}))
	w.awaitReady(stuck)
	w.setFinalizers("held", "example.com/hold")
	var others []types.NamespacedName
	for i := range 20 {
		name := fmt.Sprintf("other-%d", i)
		others = append(others, w.deploy(name, manifest(map[string]string{"a.yaml": configMapYAML(name, "1")})))
	}
	for _, key := range others {
		w.awaitReady(key)
	}
	env.BundleDeployments.Remove(t, stuck)
	for _, key := range others {
		env.BundleDeployments.Remove(t, key)
	}
	for _, key := range others {
		w.awaitRemoved(key)
	}
	env.BundleDeployments.AwaitCondition(t, stuck, fleet.Condition{
		Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse, Reason: fleet.ReasonUninstalling,
		Message: fmt.Sprintf("configmap.v1 %s/held (finalizers: example.com/hold)", w.target),
	})
	if w.configMap("free") != nil {
		t.Error("the object that nothing holds is left")
	}
	w.restart() // it is not forgotten
	w.setFinalizers("held")
	w.awaitRemoved(stuck)
}

func (w *world) setFinalizers(name string, finalizers ...string) {
	w.t.Helper()
	api := env.Kubernetes.CoreV1().ConfigMaps(w.target)
	harness.Eventually(w.t, "finalizers are set", func(ctx context.Context) error {
		cm, err := api.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		cm.Finalizers = finalizers
		_, err = api.Update(ctx, cm, metav1.UpdateOptions{})
		return err
	})
}

func TestObjectsThatAreToBeKeptAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	kept := strings.Replace(configMapYAML("kept", "1"), "metadata:\n", "metadata:\n  annotations: {helm.sh/resource-policy: keep}\n", 1)
	key := w.deploy("app", manifest(map[string]string{"a.yaml": kept, "b.yaml": configMapYAML("gone", "1")}))
	all := w.deploy("all", manifest(map[string]string{"a.yaml": configMapYAML("all", "1")}).with(func(bd *fleet.BundleDeployment) {
		keep := true
		bd.Spec.Options.KeepResources = &keep
	}))
	w.awaitReady(key)
	w.awaitReady(all)
	env.BundleDeployments.Remove(t, key)
	env.BundleDeployments.Remove(t, all)
	w.awaitRemoved(key)
	w.awaitRemoved(all)
	if w.configMap("kept") == nil || w.configMap("gone") != nil {
		t.Error("the annotation to keep an object was not followed")
	}
	if w.configMap("all") == nil {
		t.Error("keepResources was not followed")
	}
	if left := w.records(w.target); len(left) > 0 {
		t.Errorf("%d records are left", len(left))
	}
	// What was kept belongs to nobody else: the bundle can have it back.
	key = w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("kept", "2")}))
	w.awaitReady(key)
	if got := w.configMap("kept").Data["key"]; got != "2" {
		t.Errorf("the object is %q", got)
	}
}

func TestObjectThatMovedToAnotherReleaseStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	from := w.deploy("from", manifest(map[string]string{"a.yaml": configMapYAML("moved", "1"), "b.yaml": configMapYAML("stays", "1")}))
	w.awaitReady(from)
	to := w.deploy("to", manifest(map[string]string{"a.yaml": configMapYAML("moved", "2")}))
	w.awaitFailed(to, `ConfigMap "moved"`) // it belongs to another release, and nobody said to take it
	w.change(to, manifest(map[string]string{"a.yaml": configMapYAML("moved", "2")}).with(takeOwnership))
	w.awaitReady(to)

	w.change(from, manifest(map[string]string{"b.yaml": configMapYAML("stays", "1")}))
	w.awaitReady(from)
	if cm := w.configMap("moved"); cm == nil || cm.Data["key"] != "2" {
		t.Fatalf("after the upgrade of its former release the object is %+v", cm)
	}
	env.BundleDeployments.Remove(t, from)
	w.awaitRemoved(from)
	if w.configMap("moved") == nil {
		t.Error("the object was removed with its former release")
	}
	if w.configMap("stays") != nil {
		t.Error("the object that did not move is left")
	}
}

func takeOwnership(bd *fleet.BundleDeployment) {
	take := true
	bd.Spec.Options.Helm = &fleet.HelmOptions{TakeOwnership: &take}
}

func TestNamespaceGoesWithTheDeploymentIfAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	own, shared := w.target+"-own", w.target+"-shared"
	in := func(namespace string) func(*fleet.BundleDeployment) {
		return func(bd *fleet.BundleDeployment) {
			remove := true
			bd.Spec.Options.DefaultNamespace, bd.Spec.Options.DeleteNamespace = namespace, &remove
			bd.Spec.Options.NamespaceLabels = map[string]string{"team": "blue"}
		}
	}
	app := func(name string) ask { return manifest(map[string]string{"a.yaml": configMapYAML(name, "1")}) }
	alone := w.deploy("alone", app("alone").with(in(own)))
	one, two := w.deploy("one", app("one").with(in(shared))), w.deploy("two", app("two").with(in(shared)))
	for _, key := range []types.NamespacedName{alone, one, two} {
		w.awaitReady(key)
	}
	ns, err := env.Kubernetes.CoreV1().Namespaces().Get(t.Context(), own, metav1.GetOptions{})
	if err != nil || ns.Labels["team"] != "blue" {
		t.Errorf("namespace is %v, %v", ns, err)
	}
	env.BundleDeployments.Remove(t, alone)
	env.BundleDeployments.Remove(t, one)
	w.awaitRemoved(one)
	if !w.namespaceExists(shared) || w.configMapIn(shared, "two") == nil {
		t.Error("the namespace was removed although another release is in it")
	}
	env.BundleDeployments.Remove(t, two)
	w.awaitRemoved(alone)
	w.awaitRemoved(two)
	if w.namespaceExists(own) || w.namespaceExists(shared) {
		t.Error("a namespace is left after its last release")
	}
}

func (w *world) namespaceExists(name string) bool {
	w.t.Helper()
	list, err := env.Kubernetes.CoreV1().Namespaces().List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.ContainsFunc(list.Items, func(ns corev1.Namespace) bool { return ns.Name == name })
}

func TestWhatDependsOnADeploymentIsRemovedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	base := w.deploy("base", manifest(map[string]string{"a.yaml": configMapYAML("base", "1")}))
	w.awaitReady(base)
	top := w.deploy("top", manifest(map[string]string{"a.yaml": configMapYAML("top", "1")}).with(func(bd *fleet.BundleDeployment) {
		bd.Spec.DependsOn = []fleet.BundleRef{{Name: "base"}}
	}))
	w.awaitReady(top)
	w.setFinalizers("top", "example.com/hold")
	env.BundleDeployments.Remove(t, top)
	env.BundleDeployments.Remove(t, base)
	env.BundleDeployments.AwaitCondition(t, base, fleet.Condition{
		Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse, Reason: "WaitingForDependents", Message: "top",
	})
	if w.configMap("base") == nil {
		t.Error("the dependency was removed first")
	}
	w.setFinalizers("top")
	w.awaitRemoved(top)
	w.awaitRemoved(base)
}

// Deleting the definition marks every deployment for deletion. It is the
// definition's going, not a decision about any of them.
//
// This test is not parallel: it takes the deployments of all others with it.
// Those that are parallel have not begun yet.
func TestDefinitionThatIsDeletedRemovesNothing(t *testing.T) {
	w := newWorld(t)
	w.start()
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")})
	key := w.deploy("app", app)
	was := w.awaitReady(key)
	client, err := apiextensions.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	const name = "bundledeployments.fleet.cattle.io"
	definition, err := definitions.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := definitions.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	bd := env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse, Reason: "Refused", Message: "definition of BundleDeployments is terminating",
	})
	if bd.DeletionTimestamp == nil {
		t.Error("the deployment is not marked for deletion")
	}
	w.unpin(key)
	harness.Eventually(t, "the definition is gone", func(ctx context.Context) error {
		_, err := definitions.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
	w.restart() // an agent that starts now finds nothing at all
	definition.ObjectMeta = metav1.ObjectMeta{Name: name, Annotations: definition.Annotations}
	definition.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "deployments can be made again", func(ctx context.Context) error {
		probe := w.deployment("probe")
		if _, err := env.BundleDeployments.Create(ctx, probe); err != nil {
			return err
		}
		return nil
	})
	w.awaitAgentPast("later")
	if w.configMap("a") == nil {
		t.Fatal("the workload was removed")
	}
	w.deploy("app", app)
	if now := w.awaitReady(key); now.Status.Release != was.Status.Release {
		t.Errorf("it was installed again: release is %s, was %s", now.Status.Release, was.Status.Release)
	}
}
