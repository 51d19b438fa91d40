package clusters

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// newDeployment puts a deployment into the namespace of a cluster, in the given state.
func newDeployment(t *testing.T, cluster kube.Key, name string, ready bool) {
	t.Helper()
	key := kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name), Name: name}
	env.BundleDeployments.Make(t, &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Labels: map[string]string{
			names.LabelCluster: cluster.Name, names.LabelClusterNamespace: cluster.Namespace,
			names.LabelBundleName: name, names.LabelRepoName: "repo",
			// No such workspace, so that nobody but the roll-up of the cluster cares.
			names.LabelBundleNamespace: "elsewhere",
		}},
		Spec: fleet.BundleDeploymentSpec{DeploymentID: "id", StagedDeploymentID: "id"},
	})
	setReady(t, key, ready)
}

func setReady(t *testing.T, key kube.Key, ready bool) {
	t.Helper()
	env.BundleDeployments.EditStatus(t, key, func(bd *fleet.BundleDeployment) {
		bd.Status.AppliedDeploymentID, bd.Status.NonModified, bd.Status.Ready = "id", true, ready
	})
}

func TestStatusIsRolledUp(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, namespace := registered(t, workspace, "c1")
	registered(t, workspace, "c2")
	group := kube.Key{Namespace: workspace, Name: "all"}
	env.ClusterGroups.Make(t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "all"},
		Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{}},
	})
	for _, name := range []string{"c1", "c2"} {
		env.Clusters.EditStatus(t, kube.Key{Namespace: workspace, Name: name}, func(c *fleet.Cluster) {
			c.Status.Agent.LastSeen = metav1.NewTime(time.Now())
		})
	}
	newDeployment(t, key, "web", true)
	newDeployment(t, key, "db", false)

	awaitDisplay(t, key, fleet.ClusterDisplay{ReadyBundles: "1/2", State: "NotReady"})
	env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "NotReady(1) [Bundle db"})
	env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionClusterReachable, Status: metav1.ConditionTrue})
	awaitGroup(t, group, fleet.ClusterGroupDisplay{ReadyClusters: "1/2", ReadyBundles: "1/2", State: "NotReady"})

	setReady(t, kube.Key{Namespace: namespace, Name: "db"}, true)
	awaitDisplay(t, key, fleet.ClusterDisplay{ReadyBundles: "2/2", State: "Ready"})
	cluster := env.Clusters.AwaitReady(t, key)
	if cluster.Status.ReadyGitRepos != 1 || cluster.Status.DesiredReadyGitRepos != 1 {
		t.Errorf("%d of %d GitRepos", cluster.Status.ReadyGitRepos, cluster.Status.DesiredReadyGitRepos)
	}
	env.ClusterGroups.AwaitReady(t, group)
	awaitGroup(t, group, fleet.ClusterGroupDisplay{ReadyClusters: "2/2", ReadyBundles: "2/2", State: "Ready"})

	env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Labels = map[string]string{"left": "group"} })
	env.ClusterGroups.Edit(t, group, func(g *fleet.ClusterGroup) {
		g.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"name": "c2"}}
	})
	awaitGroup(t, group, fleet.ClusterGroupDisplay{ReadyClusters: "1/1", ReadyBundles: "0/0", State: "Ready"})
}

func TestGroupWithASelectorThatCannotBeRead(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	registered(t, workspace, "c1")
	group := kube.Key{Namespace: workspace, Name: "bad"}
	env.ClusterGroups.Make(t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "bad"},
		Spec: fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Resembles"}},
		}},
	})
	env.ClusterGroups.AwaitCondition(t, group, fleet.Condition{
		Type: fleet.ConditionProcessed, Status: metav1.ConditionFalse, Message: "spec.selector",
	})
}

func awaitDisplay(t *testing.T, key kube.Key, want fleet.ClusterDisplay) {
	t.Helper()
	env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		if diff := cmp.Diff(want, c.Status.Display); diff != "" {
			return fmt.Errorf("display (-want +got):\n%s", diff)
		}
		return nil
	})
}

func awaitGroup(t *testing.T, key kube.Key, want fleet.ClusterGroupDisplay) {
	t.Helper()
	env.ClusterGroups.Await(t, key, func(g *fleet.ClusterGroup) error {
		if diff := cmp.Diff(want, g.Status.Display); diff != "" {
			return fmt.Errorf("display (-want +got):\n%s", diff)
		}
		return nil
	})
}
