package delivery

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// awaitHolder waits until the heartbeat on the hub is of the agent of a name.
func awaitHolder(t *testing.T, cluster *fleet.Cluster, name string) {
	t.Helper()
	harness.Eventually(t, name+" works", func(ctx context.Context) error {
		lease, err := env.Leases.Get(ctx, names.ClusterNamespace(cluster.Namespace, cluster.Name), names.LeaseAgent)
		if err != nil {
			return err
		}
		if holder := lease.Spec.HolderIdentity; holder == nil || *holder != name {
			return fmt.Errorf("the heartbeat is of %v", holder)
		}
		return nil
	})
}

func awaitReadyAt(t *testing.T, address string) {
	t.Helper()
	harness.Eventually(t, "the agent says that it is ready", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it says %s", response.Status)
		}
		return nil
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
