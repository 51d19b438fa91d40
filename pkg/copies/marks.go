package copies

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Owner is a deployment that names a source.
type Owner struct {
	// Agent is the namespace of the agent, Deployment the name of the deployment.
	Agent, Deployment string
}

func (o Owner) mark() string { return names.PrefixCopiedFor + names.SafeConcat(o.Deployment) }

// Owners returns the deployments of the agent that an object is a copy for, sorted, as label values: names that are too long
// are shortened. There are none on an object that is no copy of that agent's.
func Owners(o metav1.Object, agent string) []string {
	if o.GetLabels()[names.LabelCopiedBy] != agent {
		return nil
	}
	var owners []string
	for key := range o.GetAnnotations() {
		if owner, is := strings.CutPrefix(key, names.PrefixCopiedFor); is {
			owners = append(owners, owner)
		}
	}
	slices.Sort(owners)
	return owners
}

// Change is what is to be done about an object in the cluster.
type Change int

const (
	// Nothing: it is as it should be.
	Nothing Change = iota
	// Create it.
	Create
	// Update it.
	Update
	// Recreate it: as it is it cannot be changed.
	Recreate
	// Delete it.
	Delete
)

// Object is a Secret or a ConfigMap: one of them is nil.
type Object struct {
	Secret    *corev1.Secret
	ConfigMap *corev1.ConfigMap
}

// Meta returns the metadata of the object, nil if there is none.
func (o Object) Meta() metav1.Object {
	switch {
	case o.Secret != nil:
		return o.Secret
	case o.ConfigMap != nil:
		return o.ConfigMap
	}
	return nil
}

func (o Object) copy() Object {
	return Object{Secret: o.Secret.DeepCopy(), ConfigMap: o.ConfigMap.DeepCopy()}
}

// Terms are on which a deployment has copies.
type Terms struct {
	// Namespace is that of its release.
	Namespace string
	Owner     Owner
	// Take allows to take over what is nobody's copy.
	Take bool
	// Restore is for a deployment that has the copy already: if another one was deployed with it since, it is left to that one.
	// Else two deployments that are at different points of a roll-out would undo each other's work for ever.
	Restore bool
}

// Provide returns what is to be done about the object that is to be the copy, and the object as it should be. live is what
// is there, without either object if there is nothing. The error says why the object cannot be the copy, without naming it.
func (t Terms) Provide(live Object, c *Copy) (Change, Object, error) {
	change := Create
	if meta := live.Meta(); meta != nil {
		if err := t.foreign(meta, c); err != nil {
			return Nothing, Object{}, err
		}
		if t.Restore && t.isAnothers(meta, c) {
			return Nothing, live, nil
		}
		change = Update
		if !changeable(live, c) {
			change, live = Recreate, thawed(live)
		}
	}
	wanted := filled(live, c)
	meta := wanted.Meta()
	meta.SetName(c.Name)
	meta.SetNamespace(t.Namespace)
	mark(meta, c, t.Owner)
	if change == Update && unchanged(live, wanted) {
		change = Nothing
	}
	return change, wanted, nil
}

// isAnothers says whether another deployment was deployed with the copy last, and wants something else to be there.
func (t Terms) isAnothers(live metav1.Object, c *Copy) bool {
	annotations, owners := live.GetAnnotations(), Owners(live, t.Owner.Agent)
	last := annotations[names.AnnotationCopied]
	if last == c.digest() || !slices.Contains(owners, names.SafeConcat(t.Owner.Deployment)) {
		return false
	}
	return slices.ContainsFunc(owners, func(owner string) bool {
		return names.PrefixCopiedFor+owner != t.Owner.mark() && annotations[names.PrefixCopiedFor+owner] == last
	})
}

// changeable says whether an API server would let the object become the copy.
func changeable(live Object, c *Copy) bool {
	if s := live.Secret; s != nil {
		return s.Type == c.Type && (!isSet(s.Immutable) || same(s.Data, c.Data))
	}
	m := live.ConfigMap
	return !isSet(m.Immutable) || same(m.Data, c.Text) && same(m.BinaryData, c.Data)
}

// thawed returns the object as one that can be changed.
func thawed(live Object) Object {
	o := live.copy()
	if o.Secret != nil {
		o.Secret.Immutable = nil
	} else {
		o.ConfigMap.Immutable = nil
	}
	return o
}

// filled returns the object with what the copy holds.
func filled(live Object, c *Copy) Object {
	o := live.copy()
	if c.Kind == KindSecret {
		if o.Secret == nil {
			o.Secret = &corev1.Secret{}
		}
		o.Secret.Type, o.Secret.Data = c.Type, c.Data
		return o
	}
	if o.ConfigMap == nil {
		o.ConfigMap = &corev1.ConfigMap{}
	}
	o.ConfigMap.Data, o.ConfigMap.BinaryData = c.Text, c.Data
	return o
}

// foreign says why an object cannot be the copy.
func (t Terms) foreign(live metav1.Object, c *Copy) error {
	owner := t.Owner
	by, from := live.GetLabels()[names.LabelCopiedBy], live.GetAnnotations()[names.AnnotationCopiedFrom]
	others := slices.DeleteFunc(Owners(live, owner.Agent), func(o string) bool { return o == names.SafeConcat(owner.Deployment) })
	_, hasMark := live.GetAnnotations()[owner.mark()]
	switch {
	case live.GetDeletionTimestamp() != nil:
		return fmt.Errorf("it is being deleted")
	case by == "" && from == c.Source() && hasMark:
		// Somebody took our label off.
	case by == "" && !t.Take:
		return fmt.Errorf("there is one already that is no copy: delete it, name the source otherwise, or set helm.takeOwnership")
	case by != "" && by != owner.Agent:
		return fmt.Errorf("the agent of namespace %s has put a copy there: name the source otherwise, or use another namespace", by)
	case by != "" && from != c.Source() && len(others) > 0:
		return fmt.Errorf("it is a copy of %s, for %s: name the source otherwise, or use another namespace", from, strings.Join(others, ", "))
	}
	return nil
}

// mark writes the marks of a copy for the owner, beside those of others.
func mark(o metav1.Object, c *Copy, owner Owner) {
	labels, annotations := maps.Clone(o.GetLabels()), maps.Clone(o.GetAnnotations())
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[names.LabelCopiedBy] = owner.Agent
	annotations[names.AnnotationCopiedFrom] = c.Source()
	annotations[owner.mark()], annotations[names.AnnotationCopied] = c.digest(), c.digest()
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
	labels[names.LabelBundleDeployment] = Owners(o, owner.Agent)[0]
}

// Withdraw returns what is to be done about an object that is no copy for the owner any more, and the object as it should
// be. It goes with its last owner, unless it is to be kept: then it loses its marks.
func Withdraw(live Object, owner Owner, keep bool) (Change, Object) {
	meta := live.Meta()
	if meta == nil || !slices.Contains(Owners(meta, owner.Agent), names.SafeConcat(owner.Deployment)) {
		return Nothing, live
	}
	others := slices.DeleteFunc(Owners(meta, owner.Agent), func(o string) bool { return o == names.SafeConcat(owner.Deployment) })
	if len(others) == 0 && !keep {
		return Delete, live
	}
	wanted := live.copy()
	meta = wanted.Meta()
	labels, annotations := meta.GetLabels(), meta.GetAnnotations()
	delete(annotations, owner.mark())
	if len(others) > 0 {
		labels[names.LabelBundleDeployment] = others[0]
	} else {
		delete(labels, names.LabelCopiedBy)
		delete(labels, names.LabelBundleDeployment)
		delete(annotations, names.AnnotationCopiedFrom)
		delete(annotations, names.AnnotationCopied)
	}
	return Update, wanted
}

func unchanged(a, b Object) bool {
	am, bm := a.Meta(), b.Meta()
	if !same(am.GetLabels(), bm.GetLabels()) || !same(am.GetAnnotations(), bm.GetAnnotations()) {
		return false
	}
	if a.Secret != nil {
		return same(a.Secret.Data, b.Secret.Data)
	}
	return same(a.ConfigMap.Data, b.ConfigMap.Data) && same(a.ConfigMap.BinaryData, b.ConfigMap.BinaryData)
}

// same compares maps as an API server does: empty ones and none are the same.
func same[V any](a, b map[string]V) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

func isSet(option *bool) bool { return option != nil && *option }
