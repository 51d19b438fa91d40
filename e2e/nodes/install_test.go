package nodes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

const managerLabels = "app.kubernetes.io/name=flotilla-manager"

// installHub runs the command of the README, and that of the guide, which says the same once more.
func (s *story) installHub(t *testing.T) {
	s.before = map[string]inventory{"hub": s.hub.inventory(t), "edge": s.edge.inventory(t)}
	began := time.Now()
	s.shell(t, s.hub, s.readme.script(t, "Install", "helm upgrade --install flotilla "))
	t.Logf("the hub is installed %s after the command was given", time.Since(began).Round(100*time.Millisecond))
	s.shell(t, s.hub, s.guide.script(t, "The hub", "helm upgrade --install flotilla "))
	s.awaitManagers(t)
	for _, workspace := range []string{names.WorkspaceDefault, names.WorkspaceLocal} {
		if _, err := s.hub.client.CoreV1().Namespaces().Get(t.Context(), workspace, metav1.GetOptions{}); err != nil {
			t.Errorf("workspace: %v", err)
		}
	}
	s.shell(t, s.hub, s.guide.script(t, "The hub", "helm test"))
}

// awaitManagers returns when two managers are ready and one of them leads.
func (s *story) awaitManagers(t *testing.T) {
	t.Helper()
	s.hub.awaitPods(t, names.NamespaceSystem, managerLabels, 2)
	harness.Eventually(t, "a manager leads", func(ctx context.Context) error { _, err := s.leader(ctx); return err })
}

// leader is the process that works: the name of its pod, and what tells it from others that were in the pod.
func (s *story) leader(ctx context.Context) (string, error) {
	lease, err := s.hub.client.CoordinationV1().Leases(names.NamespaceSystem).Get(ctx, "flotilla-manager", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", errors.New("nobody holds the lease")
	}
	return *lease.Spec.HolderIdentity, nil
}

// join runs `flotilla join` on the hub, and the line that it prints against the cluster.
func (s *story) join(t *testing.T) {
	took := s.joinLine(t, s.guide.script(t, "A cluster, by itself", "flotilla join"))
	t.Logf("the cluster is ready %s after the line was pasted", took)
	s.edge.awaitPods(t, names.NamespaceSystem, agentLabels, 1)
	cluster, err := s.hub.fleet.Clusters.Get(t.Context(), names.WorkspaceDefault, "prod-1")
	if err != nil {
		t.Fatal(err)
	}
	imported := status.Get(cluster.Status.Conditions, "Imported")
	if cluster.Labels["env"] != "prod" || imported == nil || imported.Reason != "Registered" {
		t.Errorf("the Cluster has labels %v and condition Imported %v", cluster.Labels, imported)
	}
	s.shell(t, s.edge, s.guide.script(t, "A cluster, by itself", "helm test"))
}

// joinLine gives the command that prints a line, pastes the line into a shell of the edge as soon as it is there, and
// returns when the command has seen the cluster ready.
func (s *story) joinLine(t *testing.T, command string) time.Duration {
	t.Helper()
	cmd := s.command(t, s.hub, command)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("flotilla join prints no line: %v\n%s", err, &complaints)
	}
	began := time.Now()
	s.shell(t, s.edge, line)
	rest, _ := io.ReadAll(lines)
	if err := cmd.Wait(); err != nil || len(rest) > 0 {
		t.Fatalf("flotilla join ends with %v and says more than one line: %q\n%s", err, rest, &complaints)
	}
	return time.Since(began).Round(100 * time.Millisecond)
}

// joinByToken has a cluster join as users of Fleet do, as another Cluster than before: what it runs for the one that it
// was goes on.
func (s *story) joinByToken(t *testing.T) {
	before := s.workloads(t)
	s.shell(t, s.hub, s.guide.script(t, "A cluster, by itself", "kind: ClusterRegistrationToken"))
	s.shell(t, s.edge, s.guide.script(t, "A cluster, by itself", "--values values.yaml"))
	harness.Eventually(t, "the agent has joined", func(ctx context.Context) error {
		list, err := s.hub.fleet.Clusters.List(ctx, names.WorkspaceDefault, labels.Everything())
		if err != nil {
			return err
		}
		for _, cluster := range list.Items {
			if cluster.Name != "prod-1" && cluster.Name != "prod-2" && isReady(cluster.Status.Conditions) {
				return nil
			}
		}
		return fmt.Errorf("there are %d clusters", len(list.Items))
	})
	if after := s.workloads(t); after != before {
		t.Errorf("joining once more touched the workloads: %s, then %s", before, after)
	}
}

// importCluster has the hub import itself.
func (s *story) importCluster(t *testing.T) {
	kubeconfig, err := os.ReadFile(s.hub.Kubeconfig())
	if err == nil {
		err = os.WriteFile(filepath.Join(world.dir, "prod-2.kubeconfig"), kubeconfig, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.shell(t, s.hub, s.guide.script(t, "A cluster, from the hub", "kubeConfigSecret"))
	s.awaitCluster(t, "prod-2")
	t.Logf("the imported cluster is ready %s after the command was given", time.Since(began).Round(100*time.Millisecond))
	s.hub.awaitPods(t, names.NamespaceSystem, agentLabels, 1)
}

// awaitCluster returns when the hub says that a cluster is ready.
func (s *story) awaitCluster(t *testing.T, name string) {
	t.Helper()
	harness.Eventually(t, "cluster "+name+" is ready", func(ctx context.Context) error {
		cluster, err := s.hub.fleet.Clusters.Get(ctx, names.WorkspaceDefault, name)
		if err != nil {
			return err
		}
		if !isReady(cluster.Status.Conditions) {
			return fmt.Errorf("its conditions are %v", cluster.Status.Conditions)
		}
		return nil
	})
}

func isReady(conditions []fleet.Condition) bool {
	ready := status.Get(conditions, fleet.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue
}
