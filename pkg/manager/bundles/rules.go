package bundles

import (
	"fmt"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/pkg/policy"
)

// rules returns what the bundles of a workspace may do.
func (c *controller) rules(namespace string) (policy.Rules, error) {
	restrictions, err := c.restrictions.List(namespace, labels.Everything())
	if err != nil {
		return policy.Rules{}, fmt.Errorf("listing restrictions: %w", err)
	}
	policies, err := c.policies.List(namespace, labels.Everything())
	if err != nil {
		return policy.Rules{}, fmt.Errorf("listing policies: %w", err)
	}
	return policy.Of(restrictions, policies), nil
}
