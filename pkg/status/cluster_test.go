package status_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func clusterNamed(name string) *fleet.Cluster {
	c := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name, Generation: 1}}
	c.Status.Agent.LastSeen = at(0)
	return c
}

func TestForCluster(t *testing.T) {
	ofRepo := func(repo string) func(*fleet.BundleDeployment) {
		return func(bd *fleet.BundleDeployment) { bd.Labels[names.LabelRepoName] = repo }
	}
	silent := clusterNamed("a")
	silent.Status.Agent = fleet.AgentStatus{}
	leaving := clusterNamed("a")
	leaving.DeletionTimestamp = &metav1.Time{Time: at(0).Time}
	tests := []struct {
		name  string
		facts status.ClusterFacts
		// display is "n/m State repos/repos objects/objects".
		display    string
		conditions string
	}{
		{name: "nothing deployed", display: "0/0 Ready 0/0 0/0", conditions: "Ready=True Ready\n"},
		{
			name: "repos count as ready when all of theirs is",
			facts: status.ClusterFacts{Deployments: []*fleet.BundleDeployment{
				deployment("a", "a", fleet.Ready, ofRepo("one"), withObjects("v1 ConfigMap x/a", "v1 ConfigMap x/b")),
				deployment("b", "a", fleet.NotReady, ofRepo("one")), deployment("c", "a", fleet.Ready, ofRepo("two")),
				deployment("d", "a", fleet.Ready, ofRepo("")), deployment("e", "a", fleet.ErrApplied, ofRepo("three"), removing),
			}},
			display:    "3/4 NotReady 1/2 2/2",
			conditions: "Ready=False NotReady: NotReady(1) [Bundle b]\nReconciling=True NotReady: NotReady(1) [Bundle b]\n",
		},
		{
			name:       "the agent has not reported yet",
			facts:      status.ClusterFacts{Cluster: silent, Deployments: []*fleet.BundleDeployment{deployment("a", "a", fleet.WaitApplied)}},
			display:    "0/1 WaitCheckIn 0/1 0/0",
			conditions: "Ready=False WaitCheckIn: waiting for the cluster's agent to report for the first time\nReconciling=True WaitCheckIn: waiting for the cluster's agent to report for the first time\n",
		},
		{
			name:       "importing failed",
			facts:      status.ClusterFacts{Imported: &status.Result{Reason: "KubeConfigInvalid", Message: "no"}, Processed: &status.Result{OK: true, Reason: "Processed"}},
			display:    "0/0 Ready 0/0 0/0",
			conditions: "Imported=False KubeConfigInvalid: no\nProcessed=True Processed\nReady=False KubeConfigInvalid: no\nStalled=True KubeConfigInvalid: no\n",
		},
		{
			name:       "leaving",
			facts:      status.ClusterFacts{Cluster: leaving},
			display:    "0/0 Ready 0/0 0/0",
			conditions: "Ready=False Deleting: the cluster is being unregistered; its workloads stay\nReconciling=True Deleting: the cluster is being unregistered; its workloads stay\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.facts
			if f.Now = at(1); f.Cluster == nil {
				f.Cluster = clusterNamed("a")
			}
			f.Namespace = "cluster-ns"
			got := status.ForCluster(f)
			display := fmt.Sprintf("%s %s %d/%d %d/%d", got.Display.ReadyBundles, got.Display.State,
				got.ReadyGitRepos, got.DesiredReadyGitRepos, got.ResourceCounts.Ready, got.ResourceCounts.DesiredReady)
			if display != tt.display {
				t.Errorf("display = %s, want %s", display, tt.display)
			}
			if diff := cmp.Diff(tt.conditions, showConditions(t, got.Conditions)); diff != "" {
				t.Errorf("conditions differ (-want +got):\n%s", diff)
			}
			if got.Namespace != "cluster-ns" || !reflect.DeepEqual(got.Agent, f.Cluster.Status.Agent) {
				t.Errorf("namespace %s, agent %v", got.Namespace, got.Agent)
			}
		})
	}
}

func TestForClusterGroup(t *testing.T) {
	member := func(name string, state fleet.BundleState, ready, desired int) *fleet.Cluster {
		c := clusterNamed(name)
		c.Status.Summary = fleet.BundleSummary{Ready: ready, DesiredReady: desired, NotReady: desired - ready}
		c.Status.ResourceCounts = fleet.ResourceCounts{Ready: ready, DesiredReady: desired}
		c.Status.Display.State = string(state)
		if state == fleet.Ready {
			status.Set(&c.Status.Conditions, fleet.Condition{Type: "Ready", Status: "True"}, at(0))
		}
		return c
	}
	group := &fleet.ClusterGroup{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "g", Generation: 1}}
	var many []*fleet.Cluster
	for i := range 30 {
		many = append(many, member(fmt.Sprintf("c%02d", 29-i), fleet.NotReady, 0, 1))
	}
	const processed = "Processed=True Processed\n"
	tests := []struct {
		name     string
		clusters []*fleet.Cluster
		problem  string
		// display is "clusters bundles State list".
		display    string
		conditions string
	}{
		{name: "empty", display: "0/0 0/0 Ready []", conditions: processed + "Ready=True Ready\n"},
		{name: "all ready", clusters: []*fleet.Cluster{member("a", fleet.Ready, 2, 2), member("b", fleet.Ready, 1, 1)}, display: "2/2 3/3 Ready []", conditions: processed + "Ready=True Ready\n"},
		{
			name:     "one is not",
			clusters: []*fleet.Cluster{member("a", fleet.Ready, 2, 2), member("b", fleet.NotReady, 1, 3)},
			display:  "1/2 3/5 NotReady [b]",
			conditions: processed + `Ready=False ClustersNotReady: 1 of 2 clusters are not ready: b
Reconciling=True ClustersNotReady: 1 of 2 clusters are not ready: b
`,
		},
		{
			name:     "an agent has not reported yet",
			clusters: []*fleet.Cluster{member("a", "WaitCheckIn", 0, 0)},
			display:  "0/1 0/0 WaitCheckIn [a]",
			conditions: processed + `Ready=False ClustersNotReady: 1 of 1 clusters are not ready: a
Reconciling=True ClustersNotReady: 1 of 1 clusters are not ready: a
`,
		},
		{
			name:     "the list is bounded and sorted",
			clusters: many,
			display:  "0/30 0/30 NotReady [c00 c01 c02 c03 c04 c05 c06 c07 c08 c09]",
			conditions: processed + `Ready=False ClustersNotReady: 30 of 30 clusters are not ready: c00, c01, c02, c03, c04, c05, c06, c07, c08, c09
Reconciling=True ClustersNotReady: 30 of 30 clusters are not ready: c00, c01, c02, c03, c04, c05, c06, c07, c08, c09
`,
		},
		{
			name: "the selector does not parse", problem: "spec.selector: no",
			display:    "  0/0  []",
			conditions: "Processed=False Invalid: spec.selector: no\nReady=False Invalid: spec.selector: no\nStalled=True Invalid: spec.selector: no\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := status.ForClusterGroup(status.ClusterGroupFacts{Group: group, Clusters: tt.clusters, Problem: tt.problem, Now: at(1)})
			display := fmt.Sprintf("%s %s %s %v", got.Display.ReadyClusters, got.Display.ReadyBundles, got.Display.State, got.NonReadyClusters)
			if tt.problem != "" {
				display = fmt.Sprintf("%s %s %d/%d %s %v", got.Display.ReadyClusters, got.Display.ReadyBundles, got.Summary.Ready, got.ClusterCount, got.Display.State, got.NonReadyClusters)
			}
			if display != tt.display {
				t.Errorf("display = %q, want %q", display, tt.display)
			}
			if diff := cmp.Diff(tt.conditions, showConditions(t, got.Conditions)); diff != "" {
				t.Errorf("conditions differ (-want +got):\n%s", diff)
			}
		})
	}
}
