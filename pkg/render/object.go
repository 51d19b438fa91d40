package render

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/kustomize/api/konfig"
)

// object is an object of Kubernetes and the file it comes from.
type object struct {
	*unstructured.Unstructured
	file string
	line int
}

// label names the object in messages: kind, group unless it is the core one,
// namespace and name.
func (o object) label() string {
	gvk := o.GroupVersionKind()
	kind := gvk.Kind
	if gvk.Group != "" {
		kind += "." + gvk.Group
	}
	if ns := o.GetNamespace(); ns != "" {
		return fmt.Sprintf("%s %s/%s", kind, ns, o.GetName())
	}
	return fmt.Sprintf("%s %s", kind, o.GetName())
}

func (o object) errorf(format string, args ...any) *Error {
	return &Error{File: o.file, Line: o.line, Object: o.label(), Message: fmt.Sprintf(format, args...)}
}

// objectsOf reads the objects of a file. Lists become their items.
func objectsOf(file string, data []byte, mode strictness) ([]object, error) {
	var objects []object
	for _, doc := range splitDocuments(file, data) {
		found, err := doc.objects(mode)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

func (d document) objects(mode strictness) ([]object, error) {
	value, err := d.decode(mode)
	if err != nil {
		return nil, err
	}
	switch content := value.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return d.expand(content)
	default:
		return nil, &Error{File: d.file, Line: d.start(), Message: "the YAML is not an object of Kubernetes, which is a mapping"}
	}
}

// expand returns the object, or the items if it is a list.
func (d document) expand(content map[string]any) ([]object, error) {
	u := &unstructured.Unstructured{Object: content}
	o := object{Unstructured: u, file: d.file, line: d.start()}
	if u.GetKind() == "" || u.GetAPIVersion() == "" {
		return nil, d.notAnObject(u)
	}
	items, isList := content["items"].([]any)
	if !isList || !strings.HasSuffix(u.GetKind(), "List") {
		return []object{o}, o.check()
	}
	var objects []object
	for i, item := range items {
		inner, ok := item.(map[string]any)
		if !ok {
			return nil, o.errorf("item %d of the list is not an object", i)
		}
		found, err := d.expand(inner)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// notAnObject explains a mapping that is no object of Kubernetes.
func (d document) notAnObject(u *unstructured.Unstructured) *Error {
	field := "kind"
	if u.GetKind() != "" {
		field = "apiVersion"
	}
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(d.file)) {
		return &Error{
			File: d.file, Line: d.start(),
			Message: "a kustomization in a bundle of plain manifests: name its folder in kustomize.dir, or leave it out with a .fleetignore",
		}
	}
	return &Error{
		File: d.file, Line: d.start(),
		Message: "the YAML is not an object of Kubernetes: it has no " + field + "; leave the file out with a .fleetignore if it is not to be deployed",
	}
}

// check refuses metadata of a form that no API server takes and that the rest of
// the package would stumble over.
func (o object) check() error {
	if _, err := schema.ParseGroupVersion(o.GetAPIVersion()); err != nil {
		return o.errorf("the apiVersion is not of the form group/version")
	}
	meta, ok := o.Object["metadata"].(map[string]any)
	if !ok {
		return o.errorf("the object has no metadata")
	}
	for _, field := range []string{"name", "namespace"} {
		if _, ok := meta[field].(string); !ok && meta[field] != nil {
			return o.errorf("metadata.%s is not a string; quote it", field)
		}
	}
	if o.GetName() == "" {
		return o.errorf("the object has no metadata.name")
	}
	for _, field := range []string{"labels", "annotations"} {
		if err := o.checkStrings(meta, field); err != nil {
			return err
		}
	}
	return nil
}

func (o object) checkStrings(meta map[string]any, field string) error {
	value, set := meta[field]
	if !set || value == nil {
		return nil
	}
	pairs, ok := value.(map[string]any)
	if !ok {
		return o.errorf("metadata.%s is not a mapping", field)
	}
	for key, v := range pairs {
		if _, ok := v.(string); !ok && v != nil {
			return o.errorf("metadata.%s: %s is not a string; quote it", field, key)
		}
	}
	return nil
}
