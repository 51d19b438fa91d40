package bundles

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// world is what was observed of one bundle.
type world struct {
	rollout.World
	// content is the name of the Content that the targets run; resources the
	// digest of spec.resources.
	content, resources string
	// values holds the helm values of each target, by cluster namespace.
	values map[string][]byte
	// problems are what is wrong with the targets themselves.
	problems []targeting.Problem
	// undecided are clusters that have a deployment of which it cannot be said
	// whether they still match: it stays as it is, and counts.
	undecided []undecided
	// deleting says that the bundle is being deleted: no target counts.
	deleting bool
}

// undecided is a cluster that may or may not match, and why.
type undecided struct {
	cluster *fleet.Cluster
	message string
}

// knownContent remembers the name of a bundle's content, which costs a digest
// of all its resources, for as long as its spec stays the same.
type knownContent struct {
	uid        types.UID
	generation int64
	name       string
	resources  string
}

// observe reads the bundle, the clusters that its targets match and the
// deployments that exist. It returns nil if the bundle is gone.
func (c *controller) observe(ctx context.Context, key kube.Key) (*world, error) {
	b, err := c.bundles.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading bundle: %w", err)
	}
	w := &world{World: rollout.World{Bundle: b}, values: map[string][]byte{}}
	if b.DeletionTimestamp != nil {
		w.deleting = true
		return w, nil
	}
	known, err := c.content(key, b)
	if err != nil {
		return nil, err
	}
	w.content, w.resources = known.name, known.resources
	// The targets' values come with the bundle's, from its Secret.
	full, err := c.withValues(ctx, b)
	if err != nil {
		return nil, err
	}
	return w, c.addTargets(w, full)
}

// content returns what names the bundle's resources.
func (c *controller) content(key kube.Key, b *fleet.Bundle) (knownContent, error) {
	c.mu.Lock()
	known, ok := c.contentOf[key]
	c.mu.Unlock()
	if ok && known.uid == b.UID && known.generation == b.Generation {
		return known, nil
	}
	content, err := bundle.Encode(b.Spec.Resources)
	if err != nil {
		return knownContent{}, kube.Permanent(fmt.Errorf("encoding spec.resources: %w", err))
	}
	sum, err := bundle.ResourcesSHA256(b.Spec.Resources)
	if err != nil {
		return knownContent{}, kube.Permanent(fmt.Errorf("encoding spec.resources: %w", err))
	}
	known = knownContent{uid: b.UID, generation: b.Generation, name: content.Name, resources: sum}
	c.mu.Lock()
	c.contentOf[key] = known
	c.mu.Unlock()
	return known, nil
}

// withValues returns the bundle with the helm values that its Secret holds.
func (c *controller) withValues(ctx context.Context, b *fleet.Bundle) (*fleet.Bundle, error) {
	if b.Spec.ValuesHash == "" {
		return b, nil
	}
	secret, err := c.Hub.Secrets.Get(ctx, b.Namespace, b.Name)
	if err != nil {
		return nil, fmt.Errorf("reading the helm values of the bundle: %w", err)
	}
	if bundle.ValuesHash(secret.Data) != b.Spec.ValuesHash {
		return nil, fmt.Errorf("reading the helm values of the bundle: secret %s/%s does not hold the values that spec.valuesHash names", b.Namespace, b.Name)
	}
	full, err := bundle.InjectValues(b, secret.Data)
	if err != nil {
		return nil, kube.Permanent(fmt.Errorf("reading the helm values of the bundle: %w", err))
	}
	return full, nil
}

// addTargets finds the clusters that the bundle matches, in every namespace
// that it may reach, and computes what each of them should run.
func (c *controller) addTargets(w *world, full *fleet.Bundle) error {
	reach, err := c.reach(full)
	if err != nil {
		return err
	}
	w.problems = reach.Problems
	for i, namespace := range reach.Namespaces {
		groups, err := c.groups.List(namespace, labels.Everything())
		if err != nil {
			return fmt.Errorf("listing cluster groups: %w", err)
		}
		matcher := targeting.Compile(full.Namespace, &full.Spec, groups)
		if i == 0 {
			w.problems = append(w.problems, matcher.Problems()...)
		}
		clusters, err := c.clusters.List(namespace, labels.Everything())
		if err != nil {
			return fmt.Errorf("listing clusters: %w", err)
		}
		slices.SortFunc(clusters, func(a, b *fleet.Cluster) int { return strings.Compare(a.Name, b.Name) })
		for _, cluster := range clusters {
			c.addCluster(w, full, cluster, matcher.Match(cluster))
		}
	}
	return nil
}

func (c *controller) addCluster(w *world, full *fleet.Bundle, cluster *fleet.Cluster, d targeting.Decision) {
	namespace := names.ClusterNamespace(cluster.Namespace, cluster.Name)
	switch d.Outcome {
	case targeting.Matched:
		target, values := c.target(w, full, cluster, d)
		if values != nil {
			w.values[namespace] = values
		}
		w.Targets = append(w.Targets, target)
	case targeting.Unknown:
		if _, err := c.deployments.Get(namespace, full.Name); err == nil {
			w.undecided = append(w.undecided, undecided{cluster, d.Message})
		}
	case targeting.Unmatched, targeting.Excluded:
	}
}

// target computes what the bundle deploys to one cluster. What is wrong with
// its options stays with that cluster.
func (c *controller) target(w *world, full *fleet.Bundle, cluster *fleet.Cluster, d targeting.Decision) (rollout.Target, []byte) {
	t := rollout.Target{Cluster: cluster}
	namespace := names.ClusterNamespace(cluster.Namespace, cluster.Name)
	if existing, err := c.deployments.Get(namespace, full.Name); err == nil {
		t.Existing = existing
	}
	customizations := make([]fleet.BundleDeploymentOptions, 0, len(d.Customizations))
	for _, custom := range d.Customizations {
		customizations = append(customizations, custom.BundleDeploymentOptions)
	}
	options := bundle.Merge(full.Spec.BundleDeploymentOptions, customizations...)
	options, err := bundle.Template(options, bundle.ClusterFacts{
		ClusterNamespace: cluster.Namespace,
		ClusterName:      cluster.Name,
		Labels:           cluster.Labels,
		Annotations:      cluster.Annotations,
		TemplateValues:   templateValues(cluster),
	})
	if err != nil {
		t.Problem = err.Error()
		return t, nil
	}
	if t.DeploymentID, err = bundle.DeploymentID(w.content, options); err != nil {
		t.Problem = err.Error()
		return t, nil
	}
	stripped, values, hash := bundle.SplitValues(options)
	t.Options, t.ValuesHash = stripped, hash
	return t, values
}

func templateValues(cluster *fleet.Cluster) map[string]any {
	if cluster.Spec.TemplateValues == nil {
		return nil
	}
	return cluster.Spec.TemplateValues.Data
}

// reach returns the namespaces whose clusters the bundle may be deployed to.
func (c *controller) reach(b *fleet.Bundle) (targeting.Reach, error) {
	mappings, err := c.mappings.List(b.Namespace, labels.Everything())
	if err != nil {
		return targeting.Reach{}, fmt.Errorf("listing bundle namespace mappings: %w", err)
	}
	if len(mappings) == 0 {
		return targeting.ReachOf(b, nil, nil), nil
	}
	namespaces, err := c.namespaces.List("", labels.Everything())
	if err != nil {
		return targeting.Reach{}, fmt.Errorf("listing namespaces: %w", err)
	}
	return targeting.ReachOf(b, mappings, namespaces), nil
}
