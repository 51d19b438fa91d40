package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/metadata"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// askAgain is the time between two questions to a hub that has just come back.
const askAgain = time.Second

// errSetBack says that the hub was restored from a backup. A watch that goes on
// from where it was is told nothing until the hub has got that far again, and
// never of what happened until then.
var errSetBack = errors.New("the hub was set back to an earlier state")

// progress tells resourceVersions of one kind.
type progress struct {
	// seen is how far the agent's watch has got, present how far the hub has.
	seen    func() string
	present func(context.Context) (string, error)
	// again is how long to wait before the hub is asked again if it does not answer as it should.
	again time.Duration
}

// awaitSetBack looks, whenever the hub is back after it was away, whether it is
// behind what was seen of it, and returns errSetBack if it is. It returns nil
// when ctx ends.
func (p progress) awaitSetBack(ctx context.Context, back <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-back:
		}
		for {
			behind, err := p.behind(ctx)
			if behind {
				return errSetBack
			}
			if err == nil {
				break
			}
			// An API server that has just started may know neither its users nor its kinds yet.
			timer := time.NewTimer(p.again)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-timer.C:
			}
		}
	}
}

func (p progress) behind(ctx context.Context) (bool, error) {
	seen := p.seen() // first: the hub only goes on
	present, err := p.present(ctx)
	if err != nil {
		return false, err
	}
	order, err := resourceversion.CompareResourceVersion(present, seen)
	// Versions that cannot be compared tell nothing.
	return err == nil && order < 0, nil
}

// presentOf asks the hub how far it has got with the deployments of a cluster.
func presentOf(client metadata.Interface, namespace string) func(context.Context) (string, error) {
	deployments := client.Resource(fleet.SchemeGroupVersion.WithResource("bundledeployments")).Namespace(namespace)
	return func(ctx context.Context) (string, error) {
		list, err := deployments.List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return "", fmt.Errorf("listing a deployment: %w", err)
		}
		return list.ResourceVersion, nil
	}
}
