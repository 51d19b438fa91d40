package bundles

import (
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// targetsAccount is how the clusters that bundles match are looked for anew. Only marks tell a bundle of what has
// changed, so that a change which nobody marks would stay unseen.
func (c *controller) targetsAccount() kube.Account {
	return kube.Account{
		Kind: "BundleTargets", Events: true, Keys: c.audited, Mismatch: c.missedTargets,
		Repair: func(key kube.Key) error { c.wakeWhole(key); return nil },
	}
}

// missedTargets returns which clusters are targets of the bundle and were not taken for it, and the reverse.
func (c *controller) missedTargets(key kube.Key) (string, error) {
	b, err := c.bundles.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading bundle: %w", err)
	}
	known := c.rollups.facts(b, metav1.Time{})
	if b.DeletionTimestamp != nil || !known.Known || known.Generation != b.Generation || known.Err != "" {
		// It is not settled, and will be looked at again.
		return "", nil
	}
	matching, err := c.matching(b)
	if err != nil {
		return "", err
	}
	var differences []string
	for _, t := range known.Targets {
		if !matching[t.Cluster] {
			differences = append(differences, "-"+t.Cluster)
		}
		delete(matching, t.Cluster)
	}
	for cluster := range matching {
		differences = append(differences, "+"+cluster)
	}
	slices.Sort(differences)
	const most = 20
	return strings.Join(differences[:min(len(differences), most)], " "), nil
}

// matching returns the clusters ("namespace/name") that the bundle matches, and those of which that cannot be said and
// which have a deployment of it.
func (c *controller) matching(b *fleet.Bundle) (map[string]bool, error) {
	reach, err := c.reach(b)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, namespace := range reach.Namespaces {
		groups, err := c.groups.List(namespace, labels.Everything())
		if err != nil {
			return nil, fmt.Errorf("listing cluster groups: %w", err)
		}
		clusters, err := c.clusters.List(namespace, labels.Everything())
		if err != nil {
			return nil, fmt.Errorf("listing clusters: %w", err)
		}
		matcher := targeting.Compile(b.Namespace, &b.Spec, groups)
		for _, cluster := range clusters {
			switch matcher.Match(cluster).Outcome {
			case targeting.Matched:
				found[kube.KeyOf(cluster).String()] = true
			case targeting.Unknown:
				if _, err := c.deployments.Get(names.ClusterNamespace(cluster.Namespace, cluster.Name), b.Name); err == nil {
					found[kube.KeyOf(cluster).String()] = true
				}
			case targeting.Unmatched, targeting.Excluded:
			}
		}
	}
	return found, nil
}
