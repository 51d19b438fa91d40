package manager

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// Check returns nil as soon as the hub works: its API server serves the definitions, and a manager in the namespace
// holds the lease and renews it. When ctx ends before, it returns what is missing. It takes the rights of the manager,
// and changes nothing.
func Check(ctx context.Context, hub *rest.Config, namespace string) error {
	conn, err := kube.Connect(hub, kube.Options{UserAgent: "flotilla-check"})
	if err != nil {
		return err
	}
	c := &check{conn: conn, namespace: namespace}
	return kube.AwaitNothingMissing(ctx, c.look)
}

// check is what is known so far.
type check struct {
	conn      *kube.Connection
	namespace string
	// renewed is when the lease was renewed, by the clock of its holder, which is compared with nothing but itself.
	holder  string
	renewed time.Time
}

// look returns what is missing.
func (c *check) look(ctx context.Context) error {
	served, err := c.conn.Kubernetes.Discovery().ServerResourcesForGroupVersion(fleet.SchemeGroupVersion.String())
	if err != nil {
		return fmt.Errorf("the definitions are not served: %w; install the chart flotilla-crd", err)
	}
	if len(served.APIResources) == 0 {
		return fmt.Errorf("no kind of %s is served: install the chart flotilla-crd", fleet.SchemeGroupVersion)
	}
	lease, err := c.conn.Kubernetes.CoordinationV1().Leases(c.namespace).Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("no manager has ever worked: %w", err)
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil {
		return fmt.Errorf("no manager holds the lease %s/%s", c.namespace, leaseName)
	}
	before := *c
	c.holder, c.renewed = *lease.Spec.HolderIdentity, lease.Spec.RenewTime.Time
	if before.holder != c.holder || before.renewed.Equal(c.renewed) {
		return fmt.Errorf("manager %s holds the lease and was not seen to renew it", c.holder)
	}
	return nil
}
