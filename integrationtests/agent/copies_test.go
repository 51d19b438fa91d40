package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	pkgkube "github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// pull is a Secret of the workspace, settings a ConfigMap.
func (w *world) pull(password string) copies.Copy {
	return copies.Copy{
		Kind: copies.KindSecret, Namespace: w.workspace, Name: "pull", UID: "1", Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{"username": []byte("robot"), "password": []byte(password)},
	}
}

func (w *world) settings(values string) copies.Copy {
	return copies.Copy{Kind: copies.KindConfigMap, Namespace: w.workspace, Name: "settings", UID: "2", Text: map[string]string{"values.yaml": values}}
}

// copying has a deployment copy these, as the manager writes it.
func (w *world) copying(list ...copies.Copy) func(*fleet.BundleDeployment) {
	return func(bd *fleet.BundleDeployment) {
		w.t.Helper()
		bd.Spec.Options.DownstreamResources = nil
		for _, c := range list {
			bd.Spec.Options.DownstreamResources = append(bd.Spec.Options.DownstreamResources, fleet.DownstreamResource{Kind: c.Kind, Name: c.Name})
		}
		encoded, digest, err := copies.Encode(list)
		if err != nil {
			w.t.Fatal(err)
		}
		w.putSecret(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: bd.Name},
			Data:       map[string][]byte{names.KeyDownstreamResources: encoded},
		})
		bd.Spec.DownstreamResourcesGeneration++
		metav1.SetMetaDataAnnotation(&bd.ObjectMeta, names.AnnotationDownstreamResources, digest)
	}
}

// recopy has a deployment copy something else; all else stays.
func (w *world) recopy(key pkgkube.Key, list ...copies.Copy) {
	w.t.Helper()
	env.BundleDeployments.Edit(w.t, key, w.copying(list...))
}

func (w *world) secret(name string) *corev1.Secret {
	w.t.Helper()
	found, err := env.Kubernetes.CoreV1().Secrets(w.target).Get(w.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

func (w *world) awaitPassword(want string) {
	w.t.Helper()
	harness.Eventually(w.t, "the copy holds "+want, func(context.Context) error {
		if s := w.secret("pull"); s == nil || string(s.Data["password"]) != want {
			return fmt.Errorf("it is %v", s)
		}
		return nil
	})
}

func (w *world) awaitNoCopy(name string) {
	w.t.Helper()
	harness.Eventually(w.t, name+" is gone", func(context.Context) error {
		if w.secret(name) != nil || w.configMap(name) != nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
}

// awaitApplied returns the deployment when the agent has applied it, with its copies.
func (w *world) awaitApplied(key pkgkube.Key) *fleet.BundleDeployment {
	w.t.Helper()
	return env.BundleDeployments.Await(w.t, key, func(bd *fleet.BundleDeployment) error {
		if !bd.Applied() {
			return fmt.Errorf("copies of generation %d, not %d", bd.Status.DownstreamResourcesGeneration, bd.Spec.DownstreamResourcesGeneration)
		}
		return nil
	})
}

// Copies are there before anything of the release: a template sees them, and a value comes from one. What changes on the hub
// changes in the cluster; what is not asked for any more goes, and the rest goes with the deployment.
func TestCopiesComeBeforeTheReleaseAndGoAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	seen := chart(`apiVersion: v1
kind: ConfigMap
metadata: {name: seen}
data:
  user: {{ (lookup "v1" "Secret" .Release.Namespace "pull").data.username | b64dec | quote }}
  greeting: {{ .Values.greeting | quote }}
`)
	w.allow("tenant", w.target)
	w.permit("tenant", w.target, "copies", on("secrets", "get", "create", "update", "delete"), on("configmaps", "get", "create", "update", "delete"))
	app := manifest(seen).with(as("tenant")).with(helmOptions(func(o *fleet.HelmOptions) {
		o.ValuesFrom = []fleet.ValuesFrom{{ConfigMapKeyRef: &fleet.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Namespace: "elsewhere"}}}
	}))
	key := w.deploy("app", app.with(w.copying(w.pull("first"), w.settings("greeting: hello"))))
	w.awaitReady(key)
	if data := w.configMap("seen").Data; data["user"] != "robot" || data["greeting"] != "hello" {
		t.Errorf("the release has seen %v", data)
	}
	secret := w.secret("pull")
	if secret.Type != corev1.SecretTypeBasicAuth || secret.Labels[names.LabelBundleDeployment] != "app" ||
		secret.Annotations[names.AnnotationCopiedFrom] != w.workspace+"/pull" {
		t.Errorf("the copy is %+v", secret)
	}
	if manager := secret.ManagedFields[0].Manager; manager != "flotilla-agent" {
		t.Errorf("it was made by %s", manager)
	}

	w.recopy(key, w.pull("second"), w.settings("greeting: bye"))
	w.awaitApplied(key)
	w.awaitPassword("second")
	if got := w.configMap("seen").Data["greeting"]; got != "bye" {
		t.Errorf("the greeting is %q", got)
	}

	w.recopy(key, w.settings("greeting: bye"))
	w.awaitNoCopy("pull")
	w.awaitApplied(key)
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	w.awaitNoCopy("settings")
}

// Neither an agent that starts anew nor a quiet cluster costs a write.
func TestCopiesThatAreRightAreNotWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(w.copying(w.pull("first"))))
	w.awaitReady(key)
	writes := len(w.line.made())
	w.restart()
	other := w.deploy("other", manifest(map[string]string{"b.yaml": configMapYAML("b", "1")}).with(w.copying(w.settings("a: b"))))
	w.awaitReady(other)
	w.recopy(other, w.settings("a: c"))
	w.awaitApplied(other)
	for _, write := range w.line.made()[writes:] {
		if strings.HasSuffix(write, "/secrets/pull") {
			t.Errorf("the copy was written: %s", write)
		}
	}
}

func TestCopyThatSomebodyChangesIsPutRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(w.copying(w.pull("first"))))
	w.awaitReady(key)
	secrets := env.Kubernetes.CoreV1().Secrets(w.target)
	patch := []byte(`{"stringData":{"password":"theirs"},"metadata":{"labels":{"their":"label"}}}`)
	if _, err := secrets.Patch(t.Context(), "pull", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.awaitPassword("first")
	if w.secret("pull").Labels["their"] != "label" {
		t.Error("a label of somebody else was taken off")
	}
	was := w.secret("pull").UID
	if err := secrets.Delete(t.Context(), "pull", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the copy is there again", func(context.Context) error {
		if s := w.secret("pull"); s == nil || s.UID == was {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	// The type of a Secret cannot be changed, nor what is immutable.
	other := w.pull("second")
	other.Type = corev1.SecretTypeOpaque
	w.recopy(key, other)
	w.awaitPassword("second")
	if s := w.secret("pull"); s.Type != corev1.SecretTypeOpaque {
		t.Errorf("the type is %s", s.Type)
	}
	if _, err := secrets.Patch(t.Context(), "pull", types.MergePatchType, []byte(`{"immutable":true}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	other.Data = map[string][]byte{"password": []byte("third")}
	w.recopy(key, other)
	w.awaitPassword("third")
	w.awaitApplied(key)
}

// Two deployments in one namespace may name the same source: the copy is both's, and goes with the last.
func TestCopyOfTwoDeploymentsGoesWithTheLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	first := w.deploy("first", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(w.copying(w.pull("one"))))
	second := w.deploy("second", manifest(map[string]string{"b.yaml": configMapYAML("b", "1")}).with(w.copying(w.pull("one"))))
	w.awaitReady(first)
	w.awaitReady(second)
	// The roll-out of a change has come to one of them: the other does not undo it.
	w.recopy(first, w.pull("two"))
	w.awaitApplied(first)
	w.awaitPassword("two")
	w.awaitReady(w.deploy("meanwhile", manifest(map[string]string{"m.yaml": configMapYAML("m", "1")})))
	settled := w.secret("pull")
	w.awaitReady(w.deploy("later", manifest(map[string]string{"l.yaml": configMapYAML("l", "1")})))
	if now := w.secret("pull"); now.ResourceVersion != settled.ResourceVersion || string(now.Data["password"]) != "two" {
		t.Errorf("they undo each other's work: %v, then %v", settled, now)
	}
	w.recopy(second, w.pull("two"))
	w.awaitApplied(second)
	env.BundleDeployments.Remove(t, first)
	w.awaitRemoved(first)
	if s := w.secret("pull"); s == nil || s.Labels[names.LabelBundleDeployment] != "second" {
		t.Fatalf("the copy is %+v", s)
	}
	// Another workspace's source of that name cannot take its place.
	theirs := w.pull("theirs")
	theirs.Namespace = "another-workspace"
	third := w.deploy("third", manifest(map[string]string{"c.yaml": configMapYAML("c", "1")}).with(w.copying(theirs)))
	w.awaitFailed(third, "it is a copy of "+w.workspace+"/pull, for second")
	w.awaitPassword("two")
	env.BundleDeployments.Remove(t, third)
	w.awaitRemoved(third)
	env.BundleDeployments.Remove(t, second)
	w.awaitRemoved(second)
	w.awaitNoCopy("pull")
}

func TestObjectThatIsNoCopyIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.putSecret(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.target, Name: "pull"}, Data: map[string][]byte{"password": []byte("theirs")}})
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(w.copying(w.pull("s3cret-of-the-hub")))
	key := w.deploy("app", app)
	failed := w.awaitFailed(key, "there is one already that is no copy: delete it")
	for _, c := range failed.Status.Conditions {
		if strings.Contains(c.Message, "s3cret-of-the-hub") {
			t.Errorf("%s tells the secret: %s", c.Type, c.Message)
		}
	}
	if w.configMap("a") != nil {
		t.Error("the release was installed without its copies")
	}
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	if s := w.secret("pull"); s == nil || string(s.Data["password"]) != "theirs" {
		t.Errorf("it is %v", s)
	}
	key = w.deploy("taker", app.with(takeOwnership))
	w.awaitReady(key)
	w.awaitPassword("s3cret-of-the-hub")
}

// The release's account makes the copies: what it may not do, nobody does for it.
func TestCopiesAreMadeWithTheRightsOfTheRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.permit("tenant", w.target, "release", on("configmaps", "*"))
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(as("tenant"))
	key := w.deploy("app", app.with(w.copying(w.pull("first"))))
	w.awaitFailed(key, `cannot get resource "secrets"`)
	if w.secret("pull") != nil {
		t.Fatal("it was copied all the same")
	}
	// What was never copied holds no removal up, whatever the account may see.
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	key = w.deploy("app", app.with(w.copying(w.pull("first"))))
	w.awaitFailed(key, `cannot get resource "secrets"`)
	w.permit("tenant", w.target, "secrets", on("secrets", "get", "create", "update", "delete"))
	w.awaitReady(key)
	w.awaitPassword("first")
}

func TestCopiesStayWhereTheObjectsOfTheReleaseDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	keep := func(bd *fleet.BundleDeployment) { yes := true; bd.Spec.Options.KeepResources = &yes }
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(keep).with(w.copying(w.pull("first"))))
	w.awaitReady(key)
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	s := w.secret("pull")
	if s == nil || w.configMap("a") == nil {
		t.Fatal("something is gone")
	}
	marks := slices.DeleteFunc(slices.Concat(slices.Collect(maps.Keys(s.Labels)), slices.Collect(maps.Keys(s.Annotations))), func(key string) bool {
		return !strings.Contains(key, "flotilla") && !strings.Contains(key, "fleet")
	})
	if len(marks) > 0 {
		t.Errorf("it still bears %v", marks)
	}
}

// A release that moves takes its copies along.
func TestCopiesMoveWithTheRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	app := manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(w.copying(w.pull("first")))
	key := w.deploy("app", app)
	w.awaitReady(key)
	from := w.target
	w.target = w.makeNamespace("")
	w.change(key, app)
	env.BundleDeployments.Edit(t, key, func(bd *fleet.BundleDeployment) { bd.Spec.DownstreamResourcesGeneration = 1 })
	w.awaitPassword("first")
	w.target = from
	w.awaitNoCopy("pull")
}

// Copies of a deployment that never got a release go with it, too.
func TestCopiesOfAReleaseThatNeverWasGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	broken := chart("{{ fail \"never\" }}")
	key := w.deploy("app", manifest(broken).with(w.copying(w.pull("first"))))
	w.awaitFailed(key, "never")
	w.awaitPassword("first")
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	w.awaitNoCopy("pull")
}

// A copy is put right whatever its deployment depends on.
func TestCopyIsPutRightWhileADependencyIsNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	base := w.deploy("base", manifest(map[string]string{"b.yaml": configMapYAML("b", "1")}))
	w.awaitReady(base)
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(func(bd *fleet.BundleDeployment) {
		bd.Spec.DependsOn = []fleet.BundleRef{{Name: "base"}}
	}).with(w.copying(w.pull("first"))))
	w.awaitReady(key)
	env.BundleDeployments.Remove(t, base)
	w.awaitRemoved(base)
	if err := env.Kubernetes.CoreV1().Secrets(w.target).Delete(t.Context(), "pull", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.awaitPassword("first")
}

// Copies of a release that a person has given up go with it.
func TestCopiesOfAnUnclaimedReleaseGoOnAWord(t *testing.T) {
	t.Parallel()
	for wish, stays := range map[string]bool{names.UnclaimedRemove: false, names.UnclaimedForget: true} {
		t.Run(wish, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start()
			key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(w.copying(w.pull("first"))))
			w.awaitReady(key)
			w.unpin(key)
			env.BundleDeployments.Remove(t, key)
			env.BundleDeployments.AwaitGone(t, key)
			record := w.records(w.target)[0]
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, names.AnnotationUnclaimed, wish)
			if _, err := env.Kubernetes.CoreV1().Secrets(w.target).Patch(t.Context(), record.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "the copy is nobody's, or gone", func(context.Context) error {
				switch s := w.secret("pull"); {
				case s == nil && !stays, s != nil && stays && len(s.Labels)+len(s.Annotations) == 0:
					return nil
				default:
					return fmt.Errorf("it is %v", s)
				}
			})
		})
	}
}
