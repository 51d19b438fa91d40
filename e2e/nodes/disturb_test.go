package nodes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/flotilla-gitops/flotilla/dev/node"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const (
	// failover is how long it may take until another manager leads after one was killed.
	failover = 20 * time.Second
	cut      = time.Minute
)

// restarts returns how often the only container of a pod was started anew.
func restarts(pod corev1.Pod) int32 { return pod.Status.ContainerStatuses[0].RestartCount }

// awaitRestart returns when a killed pod's container is ready again.
func (c *cluster) awaitRestart(t *testing.T, killed corev1.Pod) {
	t.Helper()
	harness.Eventually(t, killed.Name+" is back", func(ctx context.Context) error {
		pods, err := c.pods(ctx, killed.Namespace, "")
		if err != nil {
			return err
		}
		for _, pod := range pods {
			if pod.UID == killed.UID && restarts(pod) > restarts(killed) && ready(pod) {
				return nil
			}
		}
		return fmt.Errorf("the pods are %s", stateOf(pods))
	})
}

// stay fails as soon as one of the pods of the cluster goes or starts anew. It returns when ctx ends.
func (c *cluster) stay(ctx context.Context, t *testing.T, pods []corev1.Pod) {
	t.Helper()
	before := map[types.UID]int32{}
	for _, pod := range pods {
		before[pod.UID] = restarts(pod)
	}
	all := cache.NewListWatchFromClient(c.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, fields.Everything())
	_, err := watchtools.UntilWithSync(ctx, all, &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			return false, nil
		}
		if count, ours := before[pod.UID]; ours && (e.Type == watch.Deleted || pod.DeletionTimestamp != nil || restarts(*pod) != count) {
			return true, nil
		}
		return false, nil
	})
	if !wait.Interrupted(err) {
		now, _ := c.pods(t.Context(), "", "")
		t.Fatalf("while the network is cut something is touched: %s, then %s, %v", stateOf(pods), stateOf(now), err)
	}
}

// killAgent ends the agent while a commit arrives.
func (s *story) killAgent(t *testing.T) {
	agent := s.edge.awaitPods(t, names.NamespaceSystem, agentLabels, 1)[0]
	await := s.commit(t, "v2")
	s.edge.kill(t, agent)
	s.edge.awaitRestart(t, agent)
	await(t, s.hub, s.edge)
	before := s.running(t, s.edge)
	s.awaitCluster(t, "prod-1")
	// Once more, with nothing to do: the agent finds everything as it is.
	agent = s.edge.awaitPods(t, names.NamespaceSystem, agentLabels, 1)[0]
	if err := s.edge.client.CoreV1().Pods(agent.Namespace).Delete(t.Context(), agent.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "there is another agent", func(ctx context.Context) error {
		pods, err := s.edge.pods(ctx, names.NamespaceSystem, agentLabels)
		if err == nil && (len(pods) != 1 || pods[0].UID == agent.UID || !ready(pods[0])) {
			err = fmt.Errorf("the agents are %s", stateOf(pods))
		}
		return err
	})
	s.commit(t, "v3")(t, s.hub, s.edge)
	if before == s.running(t, s.edge) {
		t.Error("the pods of v3 are those of v2")
	}
}

// killManager ends the manager that works. The other takes over, and nothing of what runs is touched.
func (s *story) killManager(t *testing.T) {
	hubBefore, edgeBefore := s.running(t, s.hub), s.running(t, s.edge)
	var leader string
	harness.Eventually(t, "a manager leads", func(ctx context.Context) (err error) { leader, err = s.leader(ctx); return err })
	var killed corev1.Pod
	for _, pod := range s.hub.awaitPods(t, names.NamespaceSystem, managerLabels, 2) {
		if strings.HasPrefix(leader, pod.Name+"_") {
			killed = pod
		}
	}
	began := time.Now()
	s.hub.kill(t, killed)
	harness.Eventually(t, "another manager leads", func(ctx context.Context) error {
		now, err := s.leader(ctx)
		if err == nil && now == leader {
			err = fmt.Errorf("%s leads", now)
		}
		return err
	})
	took := time.Since(began)
	t.Logf("another manager leads %s after the first was killed", took.Round(100*time.Millisecond))
	if took > failover {
		t.Errorf("it took %s until another manager led, want %s at most", took, failover)
	}
	s.hub.awaitRestart(t, killed)
	if hub, edge := s.running(t, s.hub), s.running(t, s.edge); hub != hubBefore || edge != edgeBefore {
		t.Errorf("the workloads were touched: %s and %s, then %s and %s", hubBefore, edgeBefore, hub, edge)
	}
	s.commit(t, "v4")(t, s.hub, s.edge)
}

// restartEdge powers the node of a cluster off while a commit arrives.
func (s *story) restartEdge(t *testing.T) {
	if err := s.edge.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	await := s.commit(t, "v5")
	await(t, s.hub)
	if err := s.edge.PowerOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, s.edge)
	s.awaitCluster(t, "prod-1")
}

// restartHub powers the node of the hub off, and with it managers, one of the agents, and its workload.
func (s *story) restartHub(t *testing.T) {
	before := s.running(t, s.edge)
	if err := s.hub.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	await := s.commit(t, "v6")
	if err := s.hub.PowerOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := s.running(t, s.edge); now != before {
		t.Errorf("without its hub the workload was touched: %s, then %s", before, now)
	}
	await(t, s.hub, s.edge)
	s.awaitManagers(t)
	s.awaitCluster(t, "prod-1")
	s.awaitCluster(t, "prod-2")
}

// cutNetwork parts hub and edge for a minute.
func (s *story) cutNetwork(t *testing.T) {
	workload, agent := s.edge.awaitPods(t, webNamespace, webLabels, webPods), s.edge.awaitPods(t, names.NamespaceSystem, agentLabels, 1)
	if err := node.Cut(t.Context(), s.hub.Cluster, s.edge.Cluster); err != nil {
		t.Fatal(err)
	}
	lasting, end := context.WithTimeout(t.Context(), cut)
	defer end()
	s.commit(t, "v7")(t, s.hub)
	s.edge.stay(lasting, t, slices.Concat(workload, agent))
	if err := node.Mend(t.Context(), s.hub.Cluster, s.edge.Cluster); err != nil {
		t.Fatal(err)
	}
	mended := time.Now()
	s.awaitVersion(t, s.edge, "v7")
	t.Logf("%s after the network is back the commit has arrived", time.Since(mended).Round(100*time.Millisecond))
	s.awaitCluster(t, "prod-1")
	if now := s.edge.awaitPods(t, names.NamespaceSystem, agentLabels, 1); lives(now) != lives(agent) {
		t.Errorf("the agent restarted: %s, then %s", lives(agent), lives(now))
	}
}
