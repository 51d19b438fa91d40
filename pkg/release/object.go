package release

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Object names an object of a release.
type Object struct {
	schema.GroupVersionKind
	// Namespace is empty for cluster-scoped objects.
	Namespace string
	Name      string
	// Keep says that the manifest asks to leave the object when its release goes.
	Keep bool
}

// String returns the object in the form that status messages use:
// "deployment.apps web/frontend".
func (o Object) String() string {
	group, _, _ := strings.Cut(o.GroupVersion().String(), "/")
	kind := strings.ToLower(o.Kind) + "." + group
	if o.Namespace == "" {
		return kind + " " + o.Name
	}
	return kind + " " + o.Namespace + "/" + o.Name
}

// identity is what makes two references mean the same object; the version of
// its API is no part of it.
type identity struct {
	schema.GroupKind
	namespace, name string
}

func (o Object) identity() identity { return identity{o.GroupKind(), o.Namespace, o.Name} }

// parseManifest returns the objects of a manifest, in its order.
func parseManifest(manifest string) ([]Object, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	var objects []Object
	for {
		var u unstructured.Unstructured
		err := decoder.Decode(&u.Object)
		switch {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("parsing manifest: %w", err)
		case len(u.Object) == 0:
			continue
		}
		if u.GetKind() == "" || u.GetName() == "" {
			return nil, fmt.Errorf("parsing manifest: an object has no kind or no name")
		}
		objects = append(objects, Object{
			GroupVersionKind: u.GroupVersionKind(), Namespace: u.GetNamespace(), Name: u.GetName(),
			Keep: keeps(u.GetAnnotations()),
		})
	}
}

// secretsIn returns the content of the Secrets of a manifest, decoded where it
// is encoded.
func secretsIn(manifest string) (map[string]any, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	secrets := map[string]any{}
	for i := 0; ; i++ {
		var u unstructured.Unstructured
		err := decoder.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return secrets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("parsing manifest: %w", err)
		}
		if u.Object == nil || u.GetKind() != "Secret" || u.GroupVersionKind().Group != "" {
			continue
		}
		secrets[fmt.Sprint(i)] = secretValues(&u)
	}
}

// secretValues returns the content of a Secret, decoded where it is encoded.
func secretValues(secret *unstructured.Unstructured) []any {
	plain, _, _ := unstructured.NestedMap(secret.Object, "stringData")
	encoded, _, _ := unstructured.NestedMap(secret.Object, "data")
	for key, value := range encoded {
		text, _ := value.(string)
		if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
			encoded[key] = string(decoded)
		}
	}
	return []any{plain, encoded}
}

// union returns every object of the lists once; of several mentions the first
// counts.
func union(lists ...[]Object) []Object {
	seen := map[identity]bool{}
	var all []Object
	for _, list := range lists {
		for _, o := range list {
			if !seen[o.identity()] {
				seen[o.identity()] = true
				all = append(all, o)
			}
		}
	}
	return all
}

// without returns the objects of list that are not in others.
func without(list, others []Object) []Object {
	return filterBy(list, others, false)
}

// common returns the objects of list that are in others, too.
func common(list, others []Object) []Object {
	return filterBy(list, others, true)
}

func filterBy(list, others []Object, in bool) []Object {
	set := make(map[identity]bool, len(others))
	for _, o := range others {
		set[o.identity()] = true
	}
	var result []Object
	for _, o := range list {
		if set[o.identity()] == in {
			result = append(result, o)
		}
	}
	return result
}

// Annotations by which Helm marks the objects of a release, and by which an
// object asks to be left when its release goes.
const (
	annotationReleaseName      = "meta.helm.sh/release-name"
	annotationReleaseNamespace = "meta.helm.sh/release-namespace"
	annotationPolicy           = "helm.sh/resource-policy"
	annotationHook             = "helm.sh/hook"
	policyKeep                 = "keep"
)

func keeps(annotations map[string]string) bool {
	return strings.EqualFold(strings.TrimSpace(annotations[annotationPolicy]), policyKeep)
}

// Keeps says whether an object asks to be left when its release goes.
func Keeps(object metav1.Object) bool { return keeps(object.GetAnnotations()) }

// IsHook says whether an object is a hook of Helm's.
func IsHook(object metav1.Object) bool {
	_, hook := object.GetAnnotations()[annotationHook]
	return hook
}

// Fate is what becomes of a live object when its release gives it up.
type Fate string

const (
	// FateDelete: the object belongs to the release and is to be deleted.
	FateDelete Fate = "Delete"
	// FateTerminating: the object belongs to the release and is being deleted already.
	FateTerminating Fate = "Terminating"
	// FateKept: the object asks to be left.
	FateKept Fate = "Kept"
	// FateMoved: the object belongs to another release by now.
	FateMoved Fate = "Moved"
	// FateUnmarked: somebody took off every mark that says the object belongs to the release.
	FateUnmarked Fate = "Unmarked"
)

// fateOf decides about a live object that the records of release list. sets
// are the object sets (the value of the label) that the release applied.
func fateOf(live metav1.Object, release Key, set string) Fate {
	annotations := live.GetAnnotations()
	name, namespace := annotations[annotationReleaseName], annotations[annotationReleaseNamespace]
	marked := name != "" || namespace != ""
	switch {
	case marked && (name != release.Name || namespace != release.Namespace):
		return FateMoved
	case !marked && (set == "" || live.GetLabels()[names.LabelObjectSetHash] != set):
		return FateUnmarked
	case keeps(annotations):
		return FateKept
	case live.GetDeletionTimestamp() != nil:
		return FateTerminating
	default:
		return FateDelete
	}
}

// Remaining is an object that is being deleted and still there.
type Remaining struct {
	Object
	// Finalizers that hold it.
	Finalizers []string
}

// String names the object and what holds it.
func (r Remaining) String() string {
	if len(r.Finalizers) == 0 {
		return r.Object.String()
	}
	return fmt.Sprintf("%s (finalizers: %s)", r.Object, strings.Join(r.Finalizers, ", "))
}

func sortRemaining(list []Remaining) {
	slices.SortFunc(list, func(a, b Remaining) int { return cmp.Compare(a.Object.String(), b.Object.String()) })
}

// Holds says whether a live object belongs to a release: its own annotations
// say so, or they say nothing.
func Holds(release Key, live metav1.Object) bool {
	annotations := live.GetAnnotations()
	name, namespace := annotations[annotationReleaseName], annotations[annotationReleaseNamespace]
	return name == "" && namespace == "" || name == release.Name && namespace == release.Namespace
}
