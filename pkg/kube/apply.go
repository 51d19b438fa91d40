package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Applier writes built-in objects by server-side apply, and only those that differ from what is there.
type Applier struct {
	Client dynamic.Interface
}

// Apply makes the object what it should be. It reads first: an apply that changes nothing is still a write to the API
// server. What was applied last is recorded in an annotation, so that a field which is no longer wanted is seen, too.
func (a Applier) Apply(ctx context.Context, object runtime.Object) error {
	want, resource, err := a.prepare(object)
	if err != nil {
		return err
	}
	live, err := resource.Get(ctx, want.GetName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading %s: %w", describe(want), err)
	}
	if err == nil && holds(live.Object, want.Object) {
		return nil
	}
	data, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", describe(want), err)
	}
	force := true
	_, err = resource.Patch(ctx, want.GetName(), types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: names.FieldManager, Force: &force})
	if err != nil {
		return fmt.Errorf("applying %s: %w", describe(want), err)
	}
	return nil
}

// Establish makes an object that is most likely not there. If it is, it is made what it should be.
func (a Applier) Establish(ctx context.Context, object runtime.Object) error {
	want, resource, err := a.prepare(object)
	if err != nil {
		return err
	}
	_, err = resource.Create(ctx, want, metav1.CreateOptions{FieldManager: names.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		return a.Apply(ctx, object)
	}
	if err != nil {
		return fmt.Errorf("creating %s: %w", describe(want), err)
	}
	return nil
}

// Create makes the object if there is none of its name; what is there stays as it is.
func (a Applier) Create(ctx context.Context, object runtime.Object) error {
	want, resource, err := a.prepare(object)
	if err != nil {
		return err
	}
	if _, err = resource.Get(ctx, want.GetName(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		if err != nil {
			return fmt.Errorf("reading %s: %w", describe(want), err)
		}
		return nil
	}
	_, err = resource.Create(ctx, want, metav1.CreateOptions{FieldManager: names.FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating %s: %w", describe(want), err)
	}
	return nil
}

// Remove deletes the object of this kind and name if an apply made it.
func (a Applier) Remove(ctx context.Context, object runtime.Object) error {
	named, resource, err := a.prepare(object)
	if err != nil {
		return err
	}
	live, err := resource.Get(ctx, named.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", describe(named), err)
	}
	if live.GetAnnotations()[names.AnnotationApplied] == "" {
		return nil
	}
	uid, version := live.GetUID(), live.GetResourceVersion()
	err = resource.Delete(ctx, named.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing %s: %w", describe(named), err)
	}
	return nil
}

// prepare returns the object as it is applied, and the resource that takes it.
func (a Applier) prepare(object runtime.Object) (*unstructured.Unstructured, dynamic.ResourceInterface, error) {
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		return nil, nil, fmt.Errorf("naming the kind of %T: %w", object, err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, nil, fmt.Errorf("converting %T: %w", object, err)
	}
	delete(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	want := &unstructured.Unstructured{Object: content}
	want.SetGroupVersionKind(kinds[0])
	digest, err := Fingerprint(want)
	if err != nil {
		return nil, nil, err
	}
	annotations := want.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[names.AnnotationApplied] = digest
	want.SetAnnotations(annotations)
	// True for every built-in kind that is applied here.
	plural, _ := meta.UnsafeGuessKindToResource(kinds[0])
	if want.GetNamespace() == "" {
		return want, a.Client.Resource(plural), nil
	}
	return want, a.Client.Resource(plural).Namespace(want.GetNamespace()), nil
}

// holds says whether every field of want has the same value in have. What have holds in addition, such as defaults, does
// not count, but for the length of lists.
func holds(have, want any) bool {
	switch want := want.(type) {
	case nil:
		return true
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok && len(want) > 0 {
			return false
		}
		for key, value := range want {
			if !holds(have[key], value) {
				return false
			}
		}
		return true
	case []any:
		have, ok := have.([]any)
		if !ok && len(want) > 0 || len(have) != len(want) {
			return false
		}
		for i := range want {
			if !holds(have[i], want[i]) {
				return false
			}
		}
		return true
	default:
		return equality.Semantic.DeepEqual(have, want)
	}
}

// Fingerprint returns a digest of objects, to compare what should be with what
// was done.
func Fingerprint(objects ...runtime.Object) (string, error) {
	digest := sha256.New()
	encoder := json.NewEncoder(digest)
	for _, object := range objects {
		if err := encoder.Encode(object); err != nil {
			return "", fmt.Errorf("encoding %T: %w", object, err)
		}
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

func describe(object *unstructured.Unstructured) string {
	if object.GetNamespace() == "" {
		return object.GetKind() + " " + object.GetName()
	}
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}
