package bundles

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// variantKey names the options that some clusters of a bundle have in common.
type variantKey struct {
	// customizations is the key of the decision that matched the clusters.
	customizations string
	// labels says whether templates see any label of the clusters: the
	// identity of a deployment depends on that, for all of them alike.
	labels bool
}

// variant is a bundle's options as some customizations have them. Where no
// template refers to the cluster, they are computed once for all clusters.
type variant struct {
	merged fleet.BundleDeploymentOptions
	// input is the digest of merged and of the content.
	input [sha256.Size]byte
	// varies says that templates have to be evaluated for each cluster; if
	// not, computed is the result.
	varies   bool
	computed computed
}

// computed are options as one cluster, or many, are to run them.
type computed struct {
	options      fleet.BundleDeploymentOptions
	values       []byte
	deploymentID string
	valuesHash   string
	copies       copied
	problem      string
}

// variant returns the options that the decision leads to.
func (b *book) variant(d targeting.Decision, cluster *fleet.Cluster) (*variant, error) {
	key := variantKey{d.Key, bundle.SeesLabels(cluster.Labels)}
	if v, ok := b.variants[key]; ok {
		return v, nil
	}
	customizations := make([]fleet.BundleDeploymentOptions, 0, len(d.Customizations))
	for _, custom := range d.Customizations {
		customizations = append(customizations, custom.BundleDeploymentOptions)
	}
	v := &variant{merged: bundle.Merge(b.full.Spec.BundleDeploymentOptions, customizations...)}
	raw, err := json.Marshal(v.merged)
	if err != nil {
		return nil, fmt.Errorf("encoding options: %w", err)
	}
	v.input = sha256.Sum256(append(append(append(raw, b.content...), b.rules.Key()...), b.sources.key...))
	if v.varies = bundle.Varies(v.merged); !v.varies {
		v.computed = b.compute(v.merged, cluster)
	}
	b.variants[key] = v
	return v, nil
}

// compute evaluates the options for one cluster, and holds them against the
// rules of the workspace.
func (b *book) compute(merged fleet.BundleDeploymentOptions, cluster *fleet.Cluster) computed {
	options, err := bundle.Template(merged, bundle.FactsOf(cluster))
	if err != nil {
		return computed{problem: err.Error()}
	}
	options, refused := b.rules.Options(options, b.full.Labels[names.LabelRepoName] != "")
	if refused != "" {
		return computed{problem: refused + " (Forbidden)"}
	}
	copies := b.sources.of(options.DownstreamResources)
	if copies.problem != "" {
		return computed{problem: copies.problem}
	}
	id, err := bundle.DeploymentID(b.content, options)
	if err != nil {
		return computed{problem: err.Error()}
	}
	stripped, values, hash := bundle.SplitValues(options)
	return computed{options: stripped, values: values, deploymentID: id, valuesHash: hash, copies: copies}
}

// apply sets what the target is to run. before is the target as it was, if it
// was one: what it comes to is not computed again from the same input.
func (v *variant) apply(t *rollout.Target, b *book, before *rollout.Target, was *variant) {
	var c computed
	switch {
	case !v.varies:
		c = v.computed
	case before != nil && was != nil && was.input == v.input && sameFacts(before.Cluster, t.Cluster):
		t.Options, t.DeploymentID, t.ValuesHash, t.Problem = before.Options, before.DeploymentID, before.ValuesHash, before.Problem
		t.Copies = before.Copies
		return
	default:
		c = b.compute(v.merged, t.Cluster)
	}
	t.Options, t.DeploymentID, t.ValuesHash, t.Problem = c.options, c.deploymentID, c.valuesHash, c.problem
	t.Copies = c.copies.digest
}

// inputs returns what belongs into the Secret of the target. It is not kept for
// every cluster, since it may be large.
func (b *book) inputs(i int) (rollout.Inputs, error) {
	t, v := &b.targets[i], b.entries[i].variant
	if t.ValuesHash == "" && t.Copies == "" {
		return rollout.Inputs{}, nil
	}
	c := v.computed
	if v.varies {
		c = b.compute(v.merged, t.Cluster)
	}
	if c.valuesHash != t.ValuesHash || c.copies.digest != t.Copies {
		return rollout.Inputs{}, fmt.Errorf("evaluating values: they are not what they were a moment ago")
	}
	return rollout.Inputs{Values: c.values, Copies: c.copies.encoded, CopiesDigest: c.copies.digest}, nil
}

// sameFacts says whether templates see the same of both states of a cluster.
func sameFacts(a, b *fleet.Cluster) bool {
	return a == b || maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations) &&
		equality.Semantic.DeepEqual(a.Spec.TemplateValues, b.Spec.TemplateValues)
}

func sameLabels(a, b map[string]string) bool { return maps.Equal(a, b) }
