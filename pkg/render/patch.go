package render

import (
	"encoding/json"
	"errors"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// patchJob is one patch file and the file it is for.
type patchJob struct {
	target, source string
	base, patch    []byte
	// copyLimit bounds what the copy operations of a JSON patch may add, in bytes.
	copyLimit int64
}

// patchManifests applies every document of a patch to the object of the base
// that it is for. A document is a strategic merge patch for the kinds of
// Kubernetes, a merge patch for others, and a JSON patch if it is a list.
func patchManifests(job patchJob) ([]byte, error) {
	base, err := decodeMappings(job.target, job.base)
	if err != nil {
		return nil, err
	}
	for _, doc := range splitDocuments(job.source, job.patch) {
		value, err := doc.decode(strict)
		if err != nil {
			return nil, err
		}
		i, err := pickTarget(base, doc, value)
		if err != nil {
			return nil, err
		}
		base[i], err = applyPatch(base[i], value, job.copyLimit)
		if err != nil {
			return nil, &Error{File: job.source, Line: doc.start(), Message: describePatch(err), Err: err}
		}
	}
	docs := make([][]byte, len(base))
	for i, object := range base {
		if docs[i], err = yaml.Marshal(object); err != nil {
			return nil, &Error{File: job.source, Message: "the patched object cannot be written as YAML", Err: err}
		}
	}
	return joinDocuments(docs), nil
}

func decodeMappings(file string, data []byte) ([]map[string]any, error) {
	var mappings []map[string]any
	for _, doc := range splitDocuments(file, data) {
		value, err := doc.decode(strict)
		if err != nil {
			return nil, err
		}
		switch content := value.(type) {
		case nil:
		case map[string]any:
			mappings = append(mappings, content)
		default:
			return nil, &Error{File: file, Line: doc.start(), Message: "only objects can be patched, and this is none"}
		}
	}
	return mappings, nil
}

// pickTarget returns the index of the object that a patch is for: the only one,
// or else the one with the kind and name that the patch gives.
func pickTarget(base []map[string]any, doc document, patch any) (int, error) {
	if len(base) == 1 {
		return 0, nil
	}
	fail := func(message string) (int, error) {
		return 0, &Error{File: doc.file, Line: doc.start(), Message: message}
	}
	wanted, ok := patch.(map[string]any)
	if !ok {
		return fail("a JSON patch needs a file with exactly one object to patch")
	}
	found := -1
	for i, candidate := range base {
		if !fits(candidate, wanted) {
			continue
		}
		if found >= 0 {
			return fail("the patch fits several objects of the file: give it kind and metadata.name")
		}
		found = i
	}
	if found < 0 {
		return fail("the patch fits no object of the file: check its kind and metadata.name")
	}
	return found, nil
}

// fits says whether whatever the patch says of its identity holds for the object.
func fits(object, patch map[string]any) bool {
	o, p := unstructured.Unstructured{Object: object}, unstructured.Unstructured{Object: patch}
	same := func(got, wanted string) bool { return wanted == "" || got == wanted }
	return same(o.GetAPIVersion(), p.GetAPIVersion()) && same(o.GetKind(), p.GetKind()) &&
		same(o.GetName(), p.GetName()) && same(o.GetNamespace(), p.GetNamespace())
}

func applyPatch(object map[string]any, patch any, copyLimit int64) (map[string]any, error) {
	base, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	change, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	var patched []byte
	if _, isList := patch.([]any); isList {
		patched, err = applyJSONPatch(base, change, copyLimit)
	} else {
		patched, err = mergePatch(object, base, change)
	}
	if err != nil {
		return nil, err
	}
	var value any
	if err := unmarshalNumbers(patched, &value); err != nil {
		return nil, err
	}
	result, ok := value.(map[string]any)
	if !ok {
		return nil, errNoObjectLeft
	}
	return result, nil
}

func applyJSONPatch(base, change []byte, copyLimit int64) ([]byte, error) {
	operations, err := jsonpatch.DecodePatch(change)
	if err != nil {
		return nil, err
	}
	options := jsonpatch.NewApplyOptions()
	options.AccumulatedCopySizeLimit = copyLimit
	return operations.ApplyWithOptions(base, options)
}

func mergePatch(object map[string]any, base, change []byte) ([]byte, error) {
	u := unstructured.Unstructured{Object: object}
	known, err := scheme.Scheme.New(u.GroupVersionKind())
	if runtime.IsNotRegisteredError(err) || runtime.IsMissingKind(err) || runtime.IsMissingVersion(err) {
		return jsonpatch.MergePatch(base, change)
	}
	if err != nil {
		return nil, err
	}
	return strategicpatch.StrategicMergePatch(base, change, known)
}

// errNoObjectLeft says that a patch turned the object into something else.
var errNoObjectLeft = errors.New("the patch leaves no object")

// describePatch explains why a patch cannot be applied. Only texts that quote
// nothing but paths and the names of fields are passed on.
func describePatch(err error) string {
	var copied *jsonpatch.AccumulatedCopySizeError
	switch {
	case errors.As(err, &copied), errors.Is(err, errNoObjectLeft):
		return err.Error()
	case strings.Contains(err.Error(), "merge key"):
		return "an element of a list in the patch lacks the key by which such elements are merged, such as name"
	}
	for _, safe := range []error{
		jsonpatch.ErrTestFailed, jsonpatch.ErrMissing, jsonpatch.ErrInvalidIndex, jsonpatch.ErrUnknownType,
	} {
		if errors.Is(err, safe) {
			return "the patch does not apply: " + err.Error()
		}
	}
	return "the patch does not fit the object"
}
