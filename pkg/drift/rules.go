package drift

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Operations that are no operations of JSON Patch, or mean more here.
const (
	opIgnore = "ignore"
	opRemove = "remove"
)

// Rules say what of which objects does not count as drift.
type Rules struct{ rules []rule }

// rule is one of diff.comparePatches.
type rule struct {
	kind            schema.GroupKind
	namespace, name string
	// ignores says that objects do not count at all; those whose name matches the pattern, or all if there is none.
	ignores bool
	pattern *regexp.Regexp
	// pointers are paths that do not count; anyName says that a rule without a name has them for all objects.
	pointers []pointer
	// operations change both sides before they are compared.
	operations []operation
}

type operation struct {
	patch jsonpatch.Patch
	path  pointer
}

// NewRules returns the rules that comparePatches make. A pattern, a path or an
// operation that cannot be understood is an error that names it; the rules
// without it are returned all the same.
func NewRules(patches []fleet.ComparePatch) (Rules, error) {
	var all Rules
	var problems []string
	for i, patch := range patches {
		made, err := newRules(patch)
		all.rules = append(all.rules, made...)
		if err != nil {
			problems = append(problems, fmt.Sprintf("diff.comparePatches[%d]: %v", i, err))
		}
	}
	if len(problems) > 0 {
		return all, fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	return all, nil
}

// newRules returns the rules that one patch makes: what it ignores, and what it
// changes.
func newRules(patch fleet.ComparePatch) (made []rule, err error) {
	changes := rule{
		kind:      schema.FromAPIVersionAndKind(patch.APIVersion, patch.Kind).GroupKind(),
		namespace: patch.Namespace, name: patch.Name,
	}
	for _, op := range patch.Operations {
		switch op.Op {
		case opIgnore:
			ignores := rule{kind: changes.kind, namespace: patch.Namespace, ignores: true}
			if patch.Name != "" {
				pattern, badPattern := regexp.Compile(patch.Name)
				if badPattern != nil {
					err = fmt.Errorf("name is no regular expression: %w", badPattern)
					continue
				}
				ignores.pattern = pattern
			}
			made = append(made, ignores)
		case opRemove:
			changes.pointers, err = addPointer(changes.pointers, op.Path, err)
		default:
			compiled, badOperation := newOperation(op)
			if badOperation != nil {
				err = badOperation
				continue
			}
			changes.operations = append(changes.operations, compiled)
		}
	}
	for _, path := range patch.JSONPointers {
		changes.pointers, err = addPointer(changes.pointers, path, err)
	}
	if len(changes.pointers)+len(changes.operations) > 0 {
		made = append(made, changes)
	}
	return made, err
}

func addPointer(list []pointer, path string, before error) ([]pointer, error) {
	p, err := parsePointer(path)
	if err != nil {
		return list, err
	}
	return append(list, p), before
}

func newOperation(op fleet.Operation) (operation, error) {
	switch op.Op {
	case "add", "replace", "test":
	default:
		return operation{}, fmt.Errorf("operation %q is none of ignore, remove, replace, add, test", op.Op)
	}
	path, err := parsePointer(op.Path)
	if err != nil {
		return operation{}, err
	}
	text, err := json.Marshal([]map[string]string{{"op": op.Op, "path": op.Path, "value": op.Value}})
	if err != nil {
		return operation{}, fmt.Errorf("encoding operation %s: %w", op.Op, err)
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return operation{}, fmt.Errorf("reading operation %s: %w", op.Op, err)
	}
	return operation{patch: patch, path: path}, nil
}

// Ignore says whether the object does not count at all.
func (r Rules) Ignore(kind schema.GroupKind, namespace, name string) bool {
	return slices.ContainsFunc(r.rules, func(one rule) bool {
		return one.ignores && one.kind == kind && one.namespace == namespace &&
			(one.pattern == nil || one.pattern.MatchString(name))
	})
}

// changing returns the rules that change an object. A rule without a namespace
// or a name is for all.
func (r Rules) changing(object *unstructured.Unstructured) []rule {
	kind := object.GroupVersionKind().GroupKind()
	var found []rule
	for _, one := range r.rules {
		if !one.ignores && one.kind == kind &&
			(one.namespace == "" || one.namespace == object.GetNamespace()) &&
			(one.name == "" || one.name == object.GetName()) {
			found = append(found, one)
		}
	}
	return found
}

// apply makes of an object what is compared of it. The object is changed.
func apply(rules []rule, object map[string]any) map[string]any {
	for _, one := range rules {
		for _, p := range one.pointers {
			object, _ = p.drop(object).(map[string]any)
		}
		for _, op := range one.operations {
			object = op.apply(object)
		}
	}
	return object
}

// apply carries out the operation; where it cannot be, as where the path does
// not exist, the object stays.
func (o operation) apply(object map[string]any) map[string]any {
	text, err := json.Marshal(object)
	if err != nil {
		return object
	}
	changed, err := o.patch.Apply(text)
	if err != nil {
		return object
	}
	var result unstructured.Unstructured
	if err := result.UnmarshalJSON(changed); err != nil {
		return object
	}
	return result.Object
}

// keep returns predicted with everything that the rules speak of as it is in
// live: what does not count is not corrected, either.
func keep(rules []rule, live, predicted map[string]any) map[string]any {
	for _, one := range rules {
		for _, p := range one.pointers {
			predicted, _ = p.copyFrom(live, predicted).(map[string]any)
		}
		for _, op := range one.operations {
			predicted, _ = op.path.copyFrom(live, predicted).(map[string]any)
		}
	}
	return predicted
}

// Counting returns those of the differences that may count: others are within
// paths that the rules leave out.
func (r Rules) Counting(object *unstructured.Unstructured, all Differences) Differences {
	rules := r.changing(object)
	if len(rules) == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(one Difference) bool {
		return slices.ContainsFunc(rules, func(r rule) bool {
			return slices.ContainsFunc(r.pointers, func(p pointer) bool {
				return len(p) <= len(one.Path) && slices.Equal(p, one.Path[:len(p)])
			})
		})
	})
}
