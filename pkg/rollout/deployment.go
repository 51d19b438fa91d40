package rollout

import (
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// desired returns the target's deployment as it should be now that it is its
// turn.
func desired(b *fleet.Bundle, t *Target) *fleet.BundleDeployment {
	bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
		Name:      b.Name,
		Namespace: names.ClusterNamespace(t.Cluster.Namespace, t.Cluster.Name),
	}}
	if t.Existing != nil {
		bd = t.Existing.DeepCopy()
	}
	bd.Labels = labelsFor(b, t)
	if lacksFinalizer(t) {
		bd.Finalizers = append(bd.Finalizers, names.FinalizerDeployment)
	}
	spec := &bd.Spec
	spec.Paused = b.Spec.Paused || t.Cluster.Spec.Paused
	spec.StagedOptions, spec.StagedDeploymentID = t.Options, t.DeploymentID
	if !spec.Paused {
		spec.Options, spec.DeploymentID = t.Options, t.DeploymentID
		spec.ValuesHash = t.ValuesHash
		setCopies(bd, t.Copies)
	}
	spec.DependsOn = b.Spec.DependsOn
	spec.CorrectDrift = t.Options.CorrectDrift
	return bd
}

// setCopies has the deployment copy something else than it did.
func setCopies(bd *fleet.BundleDeployment, digest string) {
	if copied(bd) == digest {
		return
	}
	bd.Spec.DownstreamResourcesGeneration++
	// The map may be shared with what is in a cache.
	bd.Annotations = maps.Clone(bd.Annotations)
	if digest == "" {
		delete(bd.Annotations, names.AnnotationDownstreamResources)
		return
	}
	if bd.Annotations == nil {
		bd.Annotations = map[string]string{}
	}
	bd.Annotations[names.AnnotationDownstreamResources] = digest
}

// HasInputs says whether a deployment means something that stands in its Secret.
func HasInputs(bd *fleet.BundleDeployment) bool { return bd.Spec.ValuesHash != "" || copied(bd) != "" }

// Holds says whether a Secret holds what the deployment means now. One that does not say what it holds was written before any
// did, and holds no copies.
func Holds(secret *corev1.Secret, bd *fleet.BundleDeployment) bool {
	holds, says := secret.Annotations[names.AnnotationInputs]
	return !says && copied(bd) == "" || holds == bd.Spec.ValuesHash+"/"+copied(bd)
}

// Inputs are what a deployment needs and does not say itself: they stand in its Secret.
type Inputs struct {
	// Values are the helm values, as JSON.
	Values []byte
	// Copies are what it has copied to its cluster, and CopiesDigest is their digest.
	Copies       []byte
	CopiesDigest string
}

// Empty says whether the deployment needs no Secret.
func (in Inputs) Empty() bool { return len(in.Values) == 0 && len(in.Copies) == 0 }

// InputsSecret returns the Secret that belongs to a deployment: the values of what is staged and of what runs, and the
// copies. before is what the Secret holds now, if it is there: while a deployment is paused, what runs keeps its own.
func InputsSecret(b *fleet.Bundle, bd *fleet.BundleDeployment, in Inputs, before map[string][]byte) *corev1.Secret {
	data := map[string][]byte{}
	put := func(key string, value []byte) {
		if len(value) > 0 {
			data[key] = value
		}
	}
	put(names.KeyStagedValues, in.Values)
	if bd.Spec.DeploymentID == bd.Spec.StagedDeploymentID {
		put(names.KeyValues, in.Values)
	} else {
		put(names.KeyValues, before[names.KeyValues])
	}
	if copied(bd) == in.CopiesDigest {
		put(names.KeyDownstreamResources, in.Copies)
	} else {
		put(names.KeyDownstreamResources, before[names.KeyDownstreamResources])
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: bd.Name, Namespace: bd.Namespace,
			Labels: map[string]string{
				names.LabelInternalSecret:  "true",
				names.LabelBundleName:      b.Name,
				names.LabelBundleNamespace: b.Namespace,
			},
			Annotations: map[string]string{names.AnnotationInputs: names.Digest(data[names.KeyValues]) + "/" + names.Digest(data[names.KeyDownstreamResources])},
		},
		Type: names.SecretTypeDeployment,
		Data: data,
	}
}

// differs says whether the target's deployment is other than desired. It gives
// the same answer as a comparison of the two, without making one: it is asked of
// every target of a bundle. The commit alone is no difference: what one cluster
// gets from it is nothing that all others must be written for.
func differs(b *fleet.Bundle, t *Target) bool {
	have := &t.Existing.Spec
	paused := b.Spec.Paused || t.Cluster.Spec.Paused
	if have.Paused != paused || have.StagedDeploymentID != t.DeploymentID || lacksFinalizer(t) || labelsDiffer(b, t) {
		return true
	}
	if !paused && (have.DeploymentID != t.DeploymentID || have.ValuesHash != t.ValuesHash || !same(&have.Options, &t.Options)) {
		return true
	}
	return !same(&have.StagedOptions, &t.Options) || !same(have.CorrectDrift, t.Options.CorrectDrift) || !same(&have.DependsOn, &b.Spec.DependsOn)
}

// same says whether an API server would take the two for the same: empty lists
// and none are. It takes pointers, and asks the faster question first: most of
// what is compared is equal.
func same[T any](a, b *T) bool {
	return a == b || reflect.DeepEqual(a, b) || equality.Semantic.DeepEqual(a, b)
}

// lacksFinalizer says whether the target's deployment is without our finalizer
// though the cluster has an agent that can confirm a removal. A cluster without
// one keeps nobody waiting.
func lacksFinalizer(t *Target) bool {
	return AgentAnnounced(t.Cluster) && (t.Existing == nil || !slices.Contains(t.Existing.Finalizers, names.FinalizerDeployment))
}

// withFinalizer returns the target's deployment with our finalizer, and else as
// it is: the agent touches nothing without.
func withFinalizer(t *Target) *fleet.BundleDeployment {
	bd := t.Existing.DeepCopy()
	bd.Finalizers = append(bd.Finalizers, names.FinalizerDeployment)
	return bd
}

// labelsFor returns the labels of the target's deployment: the bundle's, and
// those that say where it belongs.
func labelsFor(b *fleet.Bundle, t *Target) map[string]string {
	labels := maps.Clone(b.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, own := range ownLabels(b, t) {
		labels[own.key] = own.value
	}
	return labels
}

type label struct{ key, value string }

func ownLabels(b *fleet.Bundle, t *Target) [5]label {
	return [...]label{
		{names.LabelBundleName, b.Name},
		{names.LabelBundleNamespace, b.Namespace},
		{names.LabelCluster, t.Cluster.Name},
		{names.LabelClusterNamespace, t.Cluster.Namespace},
		{names.LabelManaged, "true"},
	}
}

// labelsDiffer compares the labels of the target's deployment with those of
// labelsFor, but for the value of the commit.
func labelsDiffer(b *fleet.Bundle, t *Target) bool {
	have := t.Existing.Labels
	own := ownLabels(b, t)
	count := len(own)
	for _, l := range own {
		if have[l.key] != l.value {
			return true
		}
	}
	for key, value := range b.Labels {
		if isOwn(&own, key) {
			continue
		}
		count++
		if actual, ok := have[key]; !ok || (actual != value && key != names.LabelCommit) {
			return true
		}
	}
	return len(have) != count
}

func isOwn(own *[5]label, key string) bool {
	for i := range own {
		if own[i].key == key {
			return true
		}
	}
	return false
}
