package manager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/flotilla-gitops/flotilla/pkg/kube/election"
)

const (
	leaseName = "flotilla-manager"
	// retryPeriod bounds, with what it takes to start, how long nobody acts after a leader has stopped.
	retryPeriod = time.Second
)

// whileLeading runs f while this replica holds the lease. A replica that loses
// it returns an error: its process ends.
func (m *process) whileLeading(ctx context.Context, f func(context.Context) error) error {
	if !m.LeaderElection {
		return f(ctx)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("naming this replica: %w", err)
	}
	err = election.Run(ctx, election.Options{
		Namespace: m.Namespace, Name: leaseName, Identity: host + "_" + string(uuid.NewUUID()), Retry: retryPeriod,
		Leases: func(end func(error)) coordinationclient.LeasesGetter {
			return &rewind{LeasesGetter: m.conn.Kubernetes.CoordinationV1(), found: func() { end(errRewound) }}
		},
		Waits: m.ready.waits,
	}, f)
	m.log.Info("Stopped leading")
	if errors.Is(err, errRewound) {
		m.log.Error("The hub was restored from a backup")
	}
	return err
}
