package bundles

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

// account is how the status of bundles is counted anew.
func (c *controller) account() kube.Account {
	return kube.Account{Kind: "Bundle", Keys: c.audited, Mismatch: c.mismatch, Repair: c.repair}
}

func (c *controller) audited() ([]kube.Key, error) {
	bundles, err := c.bundles.List("", labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing bundles: %w", err)
	}
	return kube.KeysOf(bundles), nil
}

func (c *controller) mismatch(key kube.Key) (string, error) {
	b, err := c.bundles.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading bundle: %w", err)
	}
	deployments, offline, err := c.children(key)
	if err != nil {
		return "", err
	}
	now := metav1.NewTime(c.Clock.Now())
	facts := c.rollups.facts(b, now)
	facts.Deployments, facts.Offline = deployments, offline
	right, told := status.ForBundle(facts), b.Status
	if equality.Semantic.DeepEqual(told, right) {
		// The hub says what is right; what is kept must, too.
		told = c.rollups.status(b, now)
	}
	return kube.Difference(&fleet.Bundle{Status: told}, &fleet.Bundle{Status: right})
}

func (c *controller) repair(key kube.Key) error {
	deployments, offline, err := c.children(key)
	if err != nil {
		return err
	}
	c.rollups.rebuild(key, deployments, offline)
	c.status.Wake(key)
	return nil
}

// children reads the bundle's deployments, and which of their clusters are
// offline.
func (c *controller) children(key kube.Key) ([]*fleet.BundleDeployment, status.Offline, error) {
	deployments, err := c.deployments.GetByIndex(kube.DeploymentsByBundle, key.String())
	if err != nil {
		return nil, nil, fmt.Errorf("listing deployments: %w", err)
	}
	offline := status.Offline{}
	for _, bd := range deployments {
		of := kube.ClusterOf(bd)
		cluster, err := c.clusters.Get(of.Namespace, of.Name)
		if err == nil {
			offline.Note(cluster)
		} else if !apierrors.IsNotFound(err) {
			return nil, nil, fmt.Errorf("reading cluster: %w", err)
		}
	}
	return deployments, offline, nil
}
