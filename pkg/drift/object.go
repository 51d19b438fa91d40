package drift

import (
	"encoding/base64"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Marks by which Helm knows the objects of a release.
const (
	labelManagedBy             = "app.kubernetes.io/managed-by"
	managedByHelm              = "Helm"
	annotationReleaseName      = "meta.helm.sh/release-name"
	annotationReleaseNamespace = "meta.helm.sh/release-namespace"
)

// Mark writes the marks on an object that Helm sets on all objects of a
// release.
func Mark(object *unstructured.Unstructured, namespace, name string) {
	labels, annotations := maps.Clone(object.GetLabels()), maps.Clone(object.GetAnnotations())
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[labelManagedBy] = managedByHelm
	annotations[annotationReleaseName], annotations[annotationReleaseNamespace] = name, namespace
	object.SetLabels(labels)
	object.SetAnnotations(annotations)
}

// IsSecret says whether the object is a Secret, whose values are shown to
// nobody.
func IsSecret(object *unstructured.Unstructured) bool {
	gvk := object.GroupVersionKind()
	return gvk.Group == "" && gvk.Kind == "Secret"
}

// serverFields are fields of the metadata that the API server writes.
func serverFields() []string {
	return []string{
		"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink",
		"deletionTimestamp", "deletionGracePeriodSeconds",
	}
}

// strip returns the object without what the API server or controllers write
// about it. What is left is shared with the object.
func strip(object map[string]any) map[string]any {
	object = maps.Clone(object)
	delete(object, "status")
	if metadata, ok := object["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		for _, field := range serverFields() {
			delete(metadata, field)
		}
		object["metadata"] = metadata
	}
	return object
}

// asStored returns what an API server keeps of an object that it is given: no
// status, no metadata of its own, and the text in a Secret encoded.
func asStored(desired *unstructured.Unstructured) map[string]any {
	object := strip(desired.Object)
	if IsSecret(desired) {
		encodeText(object)
	}
	return object
}

// encodeText moves the stringData of a Secret into its data.
func encodeText(secret map[string]any) {
	text, ok := secret["stringData"].(map[string]any)
	if !ok {
		return
	}
	delete(secret, "stringData")
	old, _ := secret["data"].(map[string]any)
	data := maps.Clone(old)
	if data == nil {
		data = map[string]any{}
	}
	for key, value := range text {
		if plain, ok := value.(string); ok {
			data[key] = base64.StdEncoding.EncodeToString([]byte(plain))
		}
	}
	secret["data"] = data
}

// Applicable returns what of a desired object can be applied: without a status
// and without metadata that only the API server writes. It shares nothing with
// desired.
func Applicable(desired *unstructured.Unstructured) *unstructured.Unstructured {
	stored := &unstructured.Unstructured{Object: asStored(desired)}
	return stored.DeepCopy()
}

// Vanishes says whether an object is meant to be gone after a while: a Job that
// asks to be removed when it has finished.
func Vanishes(desired *unstructured.Unstructured) bool {
	if gvk := desired.GroupVersionKind(); gvk.Group != "batch" || gvk.Kind != "Job" {
		return false
	}
	_, found, _ := unstructured.NestedFieldNoCopy(desired.Object, "spec", "ttlSecondsAfterFinished")
	return found
}
