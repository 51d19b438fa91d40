package clusters

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// account is how the status of clusters is counted anew.
func (c *controller) account() kube.Account {
	return kube.Account{Kind: "Cluster", Keys: c.audited, Mismatch: c.mismatch, Repair: c.repair}
}

func (c *controller) audited() ([]kube.Key, error) {
	clusters, err := c.clusters.List("", labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing clusters: %w", err)
	}
	return kube.KeysOf(clusters), nil
}

func (c *controller) mismatch(key kube.Key) (string, error) {
	cluster, err := c.cluster(key)
	if err != nil || cluster == nil || !c.reportable(cluster) {
		return "", err
	}
	deployments, err := c.counted(names.ClusterNamespace(key.Namespace, key.Name))
	if err != nil {
		return "", err
	}
	right, _ := c.statusOf(cluster, func(facts status.ClusterFacts) fleet.ClusterStatus {
		facts.Deployments = deployments
		return status.ForCluster(facts)
	})
	told := cluster.Status
	if equality.Semantic.DeepEqual(told, right) {
		// The hub says what is right; what is kept must, too.
		told, _ = c.statusOf(cluster, c.rolledUp(key))
	}
	return kube.Difference(&fleet.Cluster{Status: told}, &fleet.Cluster{Status: right})
}

// counted returns the deployments that the status of their cluster counts: all but that of the agent itself.
func (c *controller) counted(namespace string) ([]*fleet.BundleDeployment, error) {
	deployments, err := c.deployments.List(namespace, labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing deployments: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(deployments), delivery.Is), nil
}

func (c *controller) repair(key kube.Key) error {
	namespace := names.ClusterNamespace(key.Namespace, key.Name)
	deployments, err := c.counted(namespace)
	if err != nil {
		return err
	}
	c.rollups.rebuild(namespace, deployments)
	c.status.Wake(key)
	return nil
}
