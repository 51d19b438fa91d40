package clustergroups

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// account is how the status of groups is counted anew.
func (c *controller) account() kube.Account {
	return kube.Account{Kind: "ClusterGroup", Keys: c.audited, Mismatch: c.mismatch, Repair: c.repair}
}

func (c *controller) audited() ([]kube.Key, error) {
	groups, err := c.groups.List("", labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing cluster groups: %w", err)
	}
	return kube.KeysOf(groups), nil
}

func (c *controller) mismatch(key kube.Key) (string, error) {
	group, err := c.groups.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) || err == nil && group.DeletionTimestamp != nil {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading cluster group: %w", err)
	}
	facts := status.ClusterGroupFacts{Group: group, Now: metav1.NewTime(c.Clock.Now())}
	counted := facts
	selector, err := selectorOf(group)
	if err != nil {
		counted.Problem = fmt.Sprintf("spec.selector: %v", err)
	} else if counted.Clusters, err = c.clusters.List(group.Namespace, selector); err != nil {
		return "", fmt.Errorf("listing clusters: %w", err)
	}
	told, right := group.Status, status.ForClusterGroup(counted)
	if equality.Semantic.DeepEqual(told, right) {
		// The hub says what is right; what is kept must, too.
		told = c.rollups.status(facts)
	}
	return kube.Difference(&fleet.ClusterGroup{Status: told}, &fleet.ClusterGroup{Status: right})
}

func (c *controller) repair(key kube.Key) error {
	group, err := c.groups.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading cluster group: %w", err)
	}
	clusters, err := c.clusters.List(key.Namespace, labels.Everything())
	if err != nil {
		return fmt.Errorf("listing clusters: %w", err)
	}
	c.rollups.rebuild(group, clusters)
	c.queue.Wake(key)
	return nil
}
