package status

import (
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// giveUp makes the cluster one whose agent was found silent by a manager before.
func giveUp(t *testing.T, key kube.Key, since time.Time) {
	t.Helper()
	env.Clusters.EditStatus(t, key, func(c *fleet.Cluster) {
		status.Set(&c.Status.Conditions, fleet.Condition{
			Type: fleet.ConditionClusterReachable, Status: metav1.ConditionFalse, Reason: fleet.ReasonClusterUnreachable, Message: "no sign",
		}, metav1.NewTime(since))
	})
}

// beat has the agent of the cluster give a sign.
func beat(t *testing.T, key kube.Key) {
	t.Helper()
	lease := kube.Key{Namespace: names.ClusterNamespace(key.Namespace, key.Name), Name: names.LeaseAgent}
	env.Leases.Make(t, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: lease.Namespace, Name: lease.Name}})
	for i := range 2 {
		env.Leases.Edit(t, lease, func(l *coordinationv1.Lease) {
			now := metav1.NewMicroTime(time.Now().Add(time.Duration(i) * time.Second))
			l.Spec.RenewTime = &now
		})
	}
}

// An agent goes away: what it said before is unknown, everywhere, with the time. It comes back: all is as it was.
func TestOfflineIsUnknownEverywhere(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	here, away := cluster(t, ws, "here", nil), cluster(t, ws, "away", nil)
	group := harness.KeyOf(env.ClusterGroups.Make(t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "all"}, Spec: fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{}},
	}))
	r := harness.GitRepository(t)
	r.Push(t, repo.Change{Write: folders("web")})
	gitRepo := harness.KeyOf(env.GitRepos.Make(t, harness.NewGitRepo(ws, "shop", r)))
	web := kube.Key{Namespace: ws, Name: "shop-web"}
	for _, key := range []kube.Key{here, away} {
		announced(t, key)
		answer(t, web, key)
	}
	env.GitRepos.AwaitReady(t, gitRepo)
	env.ClusterGroups.AwaitReady(t, group)

	since := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	giveUp(t, away, since)
	b := awaitSummary(t, web, 1, 1, 2)
	if list := fmt.Sprint(b.Status.Summary.NonReadyResources); !strings.Contains(list, "offline since "+since.Format(time.RFC3339)) {
		t.Errorf("the bundle names %s", list)
	}
	unknown := func(message string) fleet.Condition {
		return fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionUnknown, Reason: fleet.ReasonClustersOffline, Message: message}
	}
	env.Bundles.AwaitCondition(t, web, unknown("Unknown(1) [Cluster "+away.String()))
	env.GitRepos.AwaitCondition(t, gitRepo, unknown(away.String()+": offline since "+since.Format(time.RFC3339)))
	env.ClusterGroups.AwaitCondition(t, group, unknown("1 of 2 clusters are offline: away (since "+since.Format(time.RFC3339)))
	env.Clusters.AwaitCondition(t, away, fleet.Condition{
		Type: fleet.ConditionReady, Status: metav1.ConditionUnknown, Reason: fleet.ReasonClusterUnreachable,
	})
	env.GitRepos.Await(t, gitRepo, func(g *fleet.GitRepo) error {
		if s := g.Status; s.Summary.Unknown != 1 || s.ReadyClusters != 1 || s.DesiredReadyClusters != 2 || s.ResourceCounts.Unknown != 1 {
			return fmt.Errorf("status is %+v", s)
		}
		return nil
	})

	// Something that is worse is what is said.
	env.BundleDeployments.EditStatus(t, deployment(web, here), func(bd *fleet.BundleDeployment) { bd.Status.Ready = false })
	env.Bundles.AwaitCondition(t, web, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Reason: "NotReady"})
	env.BundleDeployments.EditStatus(t, deployment(web, here), func(bd *fleet.BundleDeployment) { bd.Status.Ready = true })

	beat(t, away)
	awaitSummary(t, web, 2, 0, 2)
	env.GitRepos.AwaitReady(t, gitRepo)
	env.ClusterGroups.AwaitReady(t, group)
	env.Clusters.AwaitReady(t, away)
}
