package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	pkgkube "github.com/flotilla-gitops/flotilla/pkg/kube"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

// correcting asks for drift to be corrected.
func correcting(bd *fleet.BundleDeployment) {
	bd.Spec.CorrectDrift = &fleet.CorrectDrift{Enabled: true}
}

func forcing(bd *fleet.BundleDeployment) {
	bd.Spec.CorrectDrift = &fleet.CorrectDrift{Enabled: true, Force: true}
}

// comparing asks for a compare patch.
func comparing(t *testing.T, text string) func(*fleet.BundleDeployment) {
	t.Helper()
	var patch fleet.ComparePatch
	if err := json.Unmarshal([]byte(text), &patch); err != nil {
		t.Fatal(err)
	}
	return func(bd *fleet.BundleDeployment) {
		bd.Spec.Options.Diff = &fleet.DiffOptions{ComparePatches: []fleet.ComparePatch{patch}}
	}
}

// somebody changes objects of the target namespace behind the agent's back.
type somebody struct {
	*world
	client dynamic.Interface
	as     string
}

func (w *world) somebody() somebody {
	w.t.Helper()
	client, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		w.t.Fatal(err)
	}
	return somebody{world: w, client: client, as: "somebody"}
}

var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// patch makes a merge patch.
func (s somebody) patch(r schema.GroupVersionResource, name, patch string, subresources ...string) {
	s.t.Helper()
	_, err := s.client.Resource(r).Namespace(s.target).
		Patch(s.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: s.as}, subresources...)
	if err != nil {
		s.t.Fatalf("patching %s: %v", name, err)
	}
}

func (s somebody) remove(r schema.GroupVersionResource, name string) {
	s.t.Helper()
	if err := s.client.Resource(r).Namespace(s.target).Delete(s.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		s.t.Fatalf("deleting %s: %v", name, err)
	}
}

// get returns an object, nil if there is none.
func (s somebody) get(r schema.GroupVersionResource, name string) *unstructured.Unstructured {
	s.t.Helper()
	o, err := s.client.Resource(r).Namespace(s.target).Get(s.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		s.t.Fatalf("reading %s: %v", name, err)
	}
	return o
}

// awaitValue waits until a field of an object has a value, written as JSON;
// "null" is one that is not there.
func (s somebody) awaitValue(r schema.GroupVersionResource, name, field, want string) {
	s.t.Helper()
	harness.Eventually(s.t, fmt.Sprintf("%s of %s is %s", field, name, want), func(context.Context) error {
		o := s.get(r, name)
		if o == nil {
			return fmt.Errorf("there is no %s", name)
		}
		value, _, _ := unstructured.NestedFieldNoCopy(o.Object, strings.Split(field, ".")...)
		if text, _ := json.Marshal(value); string(text) != want {
			return fmt.Errorf("it is %s", text)
		}
		return nil
	})
}

// awaitModified returns the deployment when it is Modified and says so in a
// message that contains the text.
func (w *world) awaitModified(key pkgkube.Key, text string) *fleet.BundleDeployment {
	w.t.Helper()
	return w.awaitModifiedLike(key, regexp.MustCompile(regexp.QuoteMeta(text)))
}

// awaitModifiedLike waits for a message that an expression matches.
func (w *world) awaitModifiedLike(key pkgkube.Key, text *regexp.Regexp) *fleet.BundleDeployment {
	w.t.Helper()
	return env.BundleDeployments.Await(w.t, key, func(bd *fleet.BundleDeployment) error {
		for _, c := range bd.Status.Conditions {
			if c.Type == fleet.ConditionReady && c.Status == metav1.ConditionFalse && text.MatchString(c.Message) &&
				bd.Status.Display.State == string(fleet.Modified) && !bd.Status.NonModified {
				return nil
			}
		}
		return fmt.Errorf("it is %s, not modified with %q", bd.Status.Display.State, text)
	})
}

// awaitCorrected waits until the agent tells of a correction with the text.
func (w *world) awaitCorrected(key pkgkube.Key, text string) *fleet.BundleDeployment {
	w.t.Helper()
	return env.BundleDeployments.AwaitCondition(w.t, key, fleet.Condition{
		Type: fleet.ConditionMonitored, Status: metav1.ConditionTrue, Reason: "Corrected", Message: text,
	})
}

// assertUnmodified makes another deployment pass the agent after whatever
// happened, then says that the deployment shows no drift.
func (w *world) assertUnmodified(key pkgkube.Key) {
	w.t.Helper()
	w.awaitAgentPast("after-" + time.Now().Format("150405.000000000")[7:])
	bd := w.awaitReady(key)
	if !bd.Status.NonModified || len(bd.Status.ModifiedStatus) > 0 || bd.Status.ResourceCounts.Modified > 0 {
		w.t.Errorf("it is modified: %+v", bd.Status.ModifiedStatus)
	}
}

// follow notes the states that a deployment shows until the returned function
// is called.
func (w *world) follow(key pkgkube.Key) (states func() []string) {
	w.t.Helper()
	client := w.somebody().client.Resource(fleet.SchemeGroupVersion.WithResource("bundledeployments")).Namespace(key.Namespace)
	watch, err := client.Watch(w.t.Context(), metav1.SingleObject(metav1.ObjectMeta{Name: key.Name}))
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan []string, 1)
	go func() {
		var seen []string
		for e := range watch.ResultChan() {
			if o, ok := e.Object.(*unstructured.Unstructured); ok {
				state, _, _ := unstructured.NestedString(o.Object, "status", "display", "state")
				seen = append(seen, state)
			}
		}
		done <- seen
	}()
	return sync.OnceValue(func() []string {
		watch.Stop()
		return <-done
	})
}

// awaitForbidden waits until a service account of the agent may not do
// something with ConfigMaps of the target namespace.
func (w *world) awaitForbidden(serviceAccount, verb string) {
	w.t.Helper()
	review := &authorizationv1.LocalSubjectAccessReview{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.target},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + w.agent + ":" + serviceAccount,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: w.target, Verb: verb, Resource: "configmaps"},
		},
	}
	harness.Eventually(w.t, serviceAccount+" may not "+verb, func(ctx context.Context) error {
		answer, err := env.Kubernetes.AuthorizationV1().LocalSubjectAccessReviews(w.target).Create(ctx, review, metav1.CreateOptions{})
		if err == nil && answer.Status.Allowed {
			return errors.New("it may")
		}
		return err
	})
}

func configMapWith(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"key": "1"}}
}
