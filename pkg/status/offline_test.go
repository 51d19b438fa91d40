package status_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func offlineCluster(name string) *fleet.Cluster {
	c := clusterNamed(name)
	status.Set(&c.Status.Conditions, fleet.Condition{Type: fleet.ConditionClusterReachable, Status: "False"}, at(0))
	return c
}

func TestOfflineSince(t *testing.T) {
	since := at(0).UTC().Format(time.RFC3339)
	offline := status.Offline{}
	steps := []struct {
		name    string
		cluster *fleet.Cluster
		news    bool
		want    status.Offline
	}{
		{"it was never announced", clusterNamed("a"), false, status.Offline{}},
		{"its agent goes away", offlineCluster("a"), true, status.Offline{"fleet-default/a": since}},
		{"nothing new", offlineCluster("a"), false, status.Offline{"fleet-default/a": since}},
		{"its agent comes back", clusterNamed("a"), true, status.Offline{}},
	}
	for _, step := range steps {
		if news := offline.Note(step.cluster); news != step.news {
			t.Errorf("%s: news = %v", step.name, news)
		}
		if diff := cmp.Diff(step.want, offline); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	timeless := offlineCluster("a")
	timeless.Status.Conditions[0].LastTransitionTime = ""
	if !offline.Note(timeless) || len(offline) != 1 {
		t.Error("a cluster that is offline since nobody knows when is not offline")
	}
	if !offline.Forget("fleet-default/a") || offline.Forget("fleet-default/a") {
		t.Error("a cluster that is gone is forgotten once")
	}
}

func TestBundleOnOfflineClusters(t *testing.T) {
	offline := status.Offline{"fleet-default/b": "2026-11-21T04:00:00Z", "fleet-default/c": "2026-11-21T05:00:00Z"}
	tests := []struct {
		name        string
		deployments []*fleet.BundleDeployment
		targets     []status.Target
		summary     fleet.BundleSummary
		unavailable int
		conditions  string
	}{
		{
			name:        "all well but for those that are offline",
			deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Ready), deployment("web", "b", fleet.Ready), deployment("web", "c", fleet.ErrApplied)},
			targets:     targets("a", "b", "c"),
			summary:     fleet.BundleSummary{Ready: 1, Unknown: 2, DesiredReady: 3},
			conditions:  "Ready=Unknown ClustersOffline: Unknown(2) [Cluster fleet-default/b: offline since 2026-11-21T04:00:00Z]\n",
		},
		{
			name:        "what is worse is what is said",
			deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Modified), deployment("web", "b", fleet.Ready)},
			targets:     targets("a", "b"),
			summary:     fleet.BundleSummary{Modified: 1, Unknown: 1, DesiredReady: 2},
			conditions:  "Ready=False Modified: Modified(1) [Cluster fleet-default/a]; Unknown(1) [Cluster fleet-default/b: offline since 2026-11-21T04:00:00Z]\n",
		},
		{
			name:        "something newer on its way to an offline cluster sticks nobody",
			deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Ready), deployment("web", "b", fleet.WaitApplied)},
			targets:     []status.Target{{Cluster: "fleet-default/a"}, {Cluster: "fleet-default/b", Fingerprint: "newer"}},
			summary:     fleet.BundleSummary{Ready: 1, Unknown: 1, DesiredReady: 2},
			conditions:  "Ready=Unknown ClustersOffline: Unknown(1) [Cluster fleet-default/b: offline since 2026-11-21T04:00:00Z]\n",
		},
		{
			name:        "what the hub knows itself stays known",
			deployments: []*fleet.BundleDeployment{deployment("web", "b", fleet.Ready)},
			targets:     []status.Target{{Cluster: "fleet-default/b", Invalid: true, Held: "no such label"}, {Cluster: "fleet-default/c", Held: "waits"}},
			summary:     fleet.BundleSummary{ErrApplied: 1, Pending: 1, DesiredReady: 2},
			conditions: `Ready=False ErrApplied: ErrApplied(1) [Cluster fleet-default/b: no such label]; Pending(1) [Cluster fleet-default/c: waits]
Reconciling=True ErrApplied: ErrApplied(1) [Cluster fleet-default/b: no such label]; Pending(1) [Cluster fleet-default/c: waits]
Stalled=True ErrApplied: ErrApplied(1) [Cluster fleet-default/b: no such label]; Pending(1) [Cluster fleet-default/c: waits]
`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := status.ForBundle(status.BundleFacts{
				Bundle: bundleNamed("web"), Known: true, Generation: 2, Now: at(1), Offline: offline, Deployments: tt.deployments, Targets: tt.targets,
			})
			got.Summary.NonReadyResources = nil
			if diff := cmp.Diff(tt.summary, got.Summary); diff != "" {
				t.Errorf("summary differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.conditions, showConditions(t, got.Conditions)); diff != "" {
				t.Errorf("conditions differ (-want +got):\n%s", diff)
			}
			if got.Unavailable != tt.unavailable {
				t.Errorf("%d are unavailable", got.Unavailable)
			}
		})
	}
}

func TestBundleThatTheRolloutHolds(t *testing.T) {
	held := func(cluster string) status.Target {
		return status.Target{Cluster: "fleet-default/" + cluster, Fingerprint: "newer", Held: "waits for canary", Reason: "Partition", Waits: true, Partition: 1}
	}
	staged := deployment("web", "paused", fleet.NotReady, func(bd *fleet.BundleDeployment) { bd.Spec.StagedDeploymentID = "newer" })
	got := status.ForBundle(status.BundleFacts{
		Bundle: bundleNamed("web"), Known: true, Generation: 2, Now: at(1),
		Deployments: []*fleet.BundleDeployment{
			deployment("web", "ready", fleet.Ready), deployment("web", "broken", fleet.ErrApplied), staged, deployment("web", "next", fleet.Ready),
		},
		Targets: []status.Target{held("ready"), held("broken"), held("paused"), held("new"), {Cluster: "fleet-default/next", Fingerprint: "newer"}},
		Rollout: &status.Rollout{
			Partitions:  []fleet.PartitionStatus{{Name: "canary", Count: 1, MaxUnavailable: 1}, {Name: "rest", Count: 4, Unavailable: 1}},
			Unavailable: 1, MaxUnavailable: 2, UnavailablePartitions: 1, NewlyCreated: 3,
		},
	})
	var list []string
	for _, r := range got.Summary.NonReadyResources {
		list = append(list, strings.TrimPrefix(r.Name, "fleet-default/")+" "+string(r.State)+" "+r.Message)
	}
	want := []string{
		"broken ErrApplied it failed", "next WaitApplied ", "paused OutOfSync waits for canary", "ready OutOfSync waits for canary", "new Pending waits for canary",
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("list differs (-want +got):\n%s", diff)
	}
	partitions := []fleet.PartitionStatus{
		{Name: "canary", Count: 1, MaxUnavailable: 1, Summary: fleet.BundleSummary{WaitApplied: 1, DesiredReady: 1}},
		{Name: "rest", Count: 4, Unavailable: 1, Summary: fleet.BundleSummary{OutOfSync: 2, ErrApplied: 1, Pending: 1, DesiredReady: 4}},
	}
	if diff := cmp.Diff(partitions, got.PartitionStatus); diff != "" {
		t.Errorf("partitions differ (-want +got):\n%s", diff)
	}
	if got.Unavailable != 1 || got.MaxUnavailable != 2 || got.UnavailablePartitions != 1 || got.NewlyCreated != 3 {
		t.Errorf("status is %+v", got)
	}
}

func TestGitRepoOnOfflineClusters(t *testing.T) {
	const cm = "v1 ConfigMap x/cm"
	facts := status.GitRepoFacts{
		GitRepo: gitRepo(), Known: true, Commit: "c", Generation: 1, Now: at(1), Offline: status.Offline{"fleet-default/b": "2026-11-21T04:00:00Z"},
		Deployments: []*fleet.BundleDeployment{
			deployment("web", "a", fleet.Ready, withObjects(cm)), deployment("web", "b", fleet.Ready, withObjects(cm), notReady(cm, "updating")),
		},
	}
	got := status.ForGitRepo(facts)
	const conditions = `Accepted=True Accepted
GitPolling=True Polled
Ready=Unknown ClustersOffline: Unknown(1) [Bundle web: fleet-default/b: offline since 2026-11-21T04:00:00Z]
`
	if diff := cmp.Diff(conditions, showConditions(t, got.Conditions)); diff != "" {
		t.Errorf("conditions differ (-want +got):\n%s", diff)
	}
	if got.ReadyClusters != 1 || got.DesiredReadyClusters != 2 || got.Display.State != "Unknown" || got.Display.Error {
		t.Errorf("%d/%d clusters, display %+v", got.ReadyClusters, got.DesiredReadyClusters, got.Display)
	}
	if want := (fleet.ResourceCounts{Ready: 1, DesiredReady: 2, Unknown: 1}); got.ResourceCounts != want {
		t.Errorf("resource counts are %+v", got.ResourceCounts)
	}
	r := got.Resources[0]
	if want := (fleet.PerClusterState{Ready: []string{"fleet-default/a"}, Unknown: []string{"fleet-default/b"}}); r.State != "Unknown" || !cmp.Equal(want, r.PerClusterState) {
		t.Errorf("the object is %+v", r)
	}
	// What is on its way to an offline cluster does not stick the GitRepo either.
	facts.Stale = map[string]bool{"web": true}
	if s := status.ForGitRepo(facts).Summary; s.WaitApplied != 1 || s.Unknown != 1 {
		t.Errorf("while something newer is on its way: %+v", s)
	}
}

// A bundle that was just written, or that nobody has looked at yet, is not ready, also where it has no deployment that says so.
func TestGitRepoWithABundleThatIsNew(t *testing.T) {
	unseen := bundleNamed("web")
	for name, facts := range map[string]status.GitRepoFacts{
		"written a moment ago": {Stale: map[string]bool{"web": true}},
		"not acted on yet":     {Bundles: []*fleet.Bundle{unseen}},
	} {
		facts.GitRepo, facts.Known, facts.Commit, facts.Now = gitRepo(), true, "c", at(1)
		got := status.ForGitRepo(facts)
		ready := status.Get(got.Conditions, fleet.ConditionReady)
		if ready.Status != metav1.ConditionFalse || ready.Reason != "WaitApplied" || !strings.Contains(ready.Message, "bundle web") {
			t.Errorf("%s: %+v", name, ready)
		}
	}
}

func TestClusterGroupWithOfflineClusters(t *testing.T) {
	ready, broken := clusterNamed("a"), clusterNamed("d")
	status.Set(&ready.Status.Conditions, fleet.Condition{Type: "Ready", Status: "True"}, at(0))
	b, c := offlineCluster("b"), offlineCluster("c")
	b.Status.Display.State, c.Status.Display.State = status.StateOffline, status.StateOffline
	group := &fleet.ClusterGroup{}
	got := status.ForClusterGroup(status.ClusterGroupFacts{Group: group, Clusters: []*fleet.Cluster{c, ready, b}, Now: at(1)})
	since := at(0).UTC().Format(time.RFC3339)
	const processed = "Processed=True Processed\n"
	if diff := cmp.Diff(processed+"Ready=Unknown ClustersOffline: 2 of 3 clusters are offline: b (since "+since+"), c\n", showConditions(t, got.Conditions)); diff != "" {
		t.Errorf("conditions differ (-want +got):\n%s", diff)
	}
	if got.Display.State != "Unknown" || got.NonReadyClusterCount != 2 {
		t.Errorf("status is %+v", got)
	}
	got = status.ForClusterGroup(status.ClusterGroupFacts{Group: group, Clusters: []*fleet.Cluster{c, broken, ready}, Now: at(1)})
	if ready := status.Get(got.Conditions, fleet.ConditionReady); ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, "2 of 3 clusters are not ready: c, d; 1 of 3 clusters are offline: c") {
		t.Errorf("with one that is worse: %+v", ready)
	}
}
