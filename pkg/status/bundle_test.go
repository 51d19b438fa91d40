package status_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func TestForBundle(t *testing.T) {
	tests := []struct {
		name  string
		facts status.BundleFacts
		// display is "n/m State".
		display    string
		summary    fleet.BundleSummary // without its list
		conditions string
	}{
		{
			name:       "no target matches",
			facts:      status.BundleFacts{},
			display:    "0/0 Ready",
			conditions: "Ready=True Ready\n",
		},
		{
			name: "all ready",
			facts: status.BundleFacts{
				Targets:     targets("a", "b"),
				Deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Ready), deployment("web", "b", fleet.Ready)},
			},
			display:    "2/2 Ready",
			summary:    fleet.BundleSummary{Ready: 2, DesiredReady: 2},
			conditions: "Ready=True Ready\n",
		},
		{
			name: "one of each state",
			facts: status.BundleFacts{
				Targets: targets("a", "b", "c", "d", "e", "f", "g"),
				Deployments: []*fleet.BundleDeployment{
					deployment("web", "a", fleet.Ready), deployment("web", "b", fleet.WaitApplied), deployment("web", "c", fleet.ErrApplied),
					deployment("web", "d", fleet.OutOfSync), deployment("web", "e", fleet.Modified, modified("v1 ConfigMap x/cm", `{"data":{"a":"b"}}`)),
					deployment("web", "f", fleet.NotReady, notReady("apps/v1 Deployment x/web", "updating", "Available: 0/1")),
				},
			},
			display: "1/7 ErrApplied",
			summary: fleet.BundleSummary{Ready: 1, DesiredReady: 7, WaitApplied: 1, ErrApplied: 1, OutOfSync: 1, Modified: 1, NotReady: 1, Pending: 1},
			conditions: `Ready=False ErrApplied: MESSAGE
Reconciling=True ErrApplied: MESSAGE
Stalled=True ErrApplied: MESSAGE
`,
		},
		{
			name:       "a target waits for its deployment, and why",
			facts:      status.BundleFacts{Targets: []status.Target{{Cluster: "fleet-default/a", Held: "the cluster is not ready"}}},
			display:    "0/1 Pending",
			summary:    fleet.BundleSummary{DesiredReady: 1, Pending: 1},
			conditions: "Ready=False Pending: Pending(1) [Cluster fleet-default/a: the cluster is not ready]\nReconciling=True Pending: Pending(1) [Cluster fleet-default/a: the cluster is not ready]\n",
		},
		{
			name: "options do not hold on a cluster, the others go on",
			facts: status.BundleFacts{
				Targets:     append(targets("a"), status.Target{Cluster: "fleet-default/b", Held: "helm values.x: the cluster has no .ClusterLabels.env", Invalid: true}),
				Deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Ready), deployment("web", "b", fleet.Ready)},
			},
			display: "1/2 ErrApplied",
			summary: fleet.BundleSummary{Ready: 1, DesiredReady: 2, ErrApplied: 1},
			conditions: `Ready=False ErrApplied: ErrApplied(1) [Cluster fleet-default/b: helm values.x: the cluster has no .ClusterLabels.env]
Stalled=True ErrApplied: ErrApplied(1) [Cluster fleet-default/b: helm values.x: the cluster has no .ClusterLabels.env]
`,
		},
		{
			name: "modified: nothing goes on, and nothing is stuck",
			facts: status.BundleFacts{
				Targets:     targets("a"),
				Deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Modified, modified("v1 ConfigMap x/cm", "missing"))},
			},
			display:    "0/1 Modified",
			summary:    fleet.BundleSummary{DesiredReady: 1, Modified: 1},
			conditions: "Ready=False Modified: Modified(1) [Cluster fleet-default/a]; configmap.v1 x/cm missing\n",
		},
		{
			name: "paused: nothing goes on",
			facts: status.BundleFacts{
				Targets: targets("a"), Deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.OutOfSync)},
			},
			display:    "0/1 OutOfSync",
			summary:    fleet.BundleSummary{DesiredReady: 1, OutOfSync: 1},
			conditions: "Ready=False OutOfSync: OutOfSync(1) [Cluster fleet-default/a]\n",
		},
		{
			name: "removing deployments do not count, but show",
			facts: status.BundleFacts{
				Targets: targets("a"),
				Deployments: []*fleet.BundleDeployment{
					deployment("web", "a", fleet.Ready), deployment("web", "c", fleet.ErrApplied, removing), deployment("web", "b", fleet.Ready, removing),
				},
			},
			display:    "1/1 Ready",
			summary:    fleet.BundleSummary{Ready: 1, DesiredReady: 1},
			conditions: "Ready=True Ready\nRemoving=True WaitingForAgents: 2 to confirm: fleet-default/b, fleet-default/c\n",
		},
		{
			name: "what is kept while targets are in doubt counts",
			facts: status.BundleFacts{
				Problems:    []string{`spec.targets[0].clusterGroup: there is no ClusterGroup "x"`},
				Deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Ready)},
			},
			display: "1/1 Ready",
			summary: fleet.BundleSummary{Ready: 1, DesiredReady: 1},
			conditions: `Ready=False Invalid: spec.targets[0].clusterGroup: there is no ClusterGroup "x"
Stalled=True Invalid: spec.targets[0].clusterGroup: there is no ClusterGroup "x"
`,
		},
		{
			name:       "a write failed",
			facts:      status.BundleFacts{Err: "writing: no"},
			display:    "0/0 Ready",
			conditions: "Ready=False WriteFailed: writing: no\nReconciling=True WriteFailed: writing: no\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.facts
			f.Bundle, f.Known, f.Generation, f.Now = bundleNamed("web"), true, 2, at(1)
			got := status.ForBundle(f)
			if display := got.Display.ReadyClusters + " " + got.Display.State; display != tt.display {
				t.Errorf("display = %s, want %s", display, tt.display)
			}
			counts := got.Summary
			counts.NonReadyResources = nil
			if diff := cmp.Diff(tt.summary, counts); diff != "" {
				t.Errorf("summary differs (-want +got):\n%s", diff)
			}
			conditions := strings.ReplaceAll(tt.conditions, "MESSAGE", status.ReadyMessage(got.Summary, "Cluster"))
			if diff := cmp.Diff(conditions, showConditions(t, got.Conditions)); diff != "" {
				t.Errorf("conditions differ (-want +got):\n%s", diff)
			}
			for _, c := range got.Conditions {
				if c.ObservedGeneration != 2 || c.LastUpdateTime != time1 {
					t.Errorf("condition %s is about generation %d, of %s", c.Type, c.ObservedGeneration, c.LastUpdateTime)
				}
			}
			if got.ObservedGeneration != 2 {
				t.Errorf("observedGeneration = %d", got.ObservedGeneration)
			}
		})
	}
}

func TestForBundleKeepsWhatItSaysUntilItKnows(t *testing.T) {
	b := bundleNamed("web")
	b.Status.Summary.DesiredReady = 7
	b.Status.Display.ReadyClusters = "1/7"
	got := status.ForBundle(status.BundleFacts{Bundle: b, Now: at(1)})
	if diff := cmp.Diff(b.Status, got); diff != "" {
		t.Errorf("ForBundle() differs (-want +got):\n%s", diff)
	}
}

// Whatever the order in which things are listed, and however often: the same
// facts give the same status, and none of its times move.
func TestStatusIsAFunctionOfFacts(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	states := []fleet.BundleState{fleet.Ready, fleet.NotReady, fleet.WaitApplied, fleet.ErrApplied, fleet.OutOfSync, fleet.Modified}
	for range 50 {
		f := status.BundleFacts{Bundle: bundleNamed("web"), Known: true, Generation: 2, Now: at(1)}
		g := status.GitRepoFacts{GitRepo: gitRepo(), Known: true, Generation: 1, Commit: "c", Now: at(1)}
		c := status.ClusterFacts{Cluster: clusterNamed("a"), Now: at(1)}
		for i := range r.IntN(60) {
			cluster := fmt.Sprint("c", i)
			bd := deployment("web", cluster, states[r.IntN(len(states))], withObjects("v1 ConfigMap x/a", "apps/v1 Deployment x/b"))
			if r.IntN(5) == 0 {
				removing(bd)
			} else {
				f.Targets = append(f.Targets, targets(cluster)...)
			}
			f.Deployments = append(f.Deployments, bd)
		}
		g.Deployments, c.Deployments = f.Deployments, f.Deployments
		first := []any{status.ForBundle(f), status.ForGitRepo(g), status.ForCluster(c)}

		f.Bundle.Status, g.GitRepo.Status, c.Cluster.Status = first[0].(fleet.BundleStatus), first[1].(fleet.GitRepoStatus), first[2].(fleet.ClusterStatus)
		shuffled := append([]*fleet.BundleDeployment{}, f.Deployments...)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		r.Shuffle(len(f.Targets), func(i, j int) { f.Targets[i], f.Targets[j] = f.Targets[j], f.Targets[i] })
		f.Deployments, g.Deployments, c.Deployments = shuffled, shuffled, shuffled
		f.Now, g.Now, c.Now = at(2), at(2), at(2)
		second := []any{status.ForBundle(f), status.ForGitRepo(g), status.ForCluster(c)}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("the same facts, another status:\n%s", diff)
		}
	}
}

func BenchmarkForBundle(b *testing.B) {
	const size = 10_000
	f := status.BundleFacts{Bundle: bundleNamed("web"), Known: true, Now: at(1)}
	for i := range size {
		cluster := fmt.Sprintf("c-%05d", i)
		state := fleet.Ready
		if i%10 == 0 {
			state = fleet.NotReady
		}
		f.Deployments = append(f.Deployments, deployment("web", cluster, state, notReady("apps/v1 Deployment x/web", "updating", "Available: 0/1")))
		f.Targets = append(f.Targets, targets(cluster)...)
	}
	b.ReportAllocs()
	for b.Loop() {
		status.ForBundle(f)
	}
}

func TestForBundleCountsWhatIsNotWrittenYetAsWaiting(t *testing.T) {
	bd := deployment("web", "a", fleet.Ready)
	facts := status.BundleFacts{
		Bundle: bundleNamed("web"), Known: true, Generation: 2, Deployments: []*fleet.BundleDeployment{bd}, Now: at(1),
		Targets: []status.Target{{Cluster: "fleet-default/a", Fingerprint: bd.Spec.StagedDeploymentID}},
	}
	if got := status.ForBundle(facts).Display.ReadyClusters; got != "1/1" {
		t.Errorf("a deployment that runs what it should counts as %s", got)
	}
	facts.Targets[0].Fingerprint = "s-newer:x"
	if got := status.ForBundle(facts); got.Display.ReadyClusters != "0/1" || got.Summary.WaitApplied != 1 {
		t.Errorf("a deployment that is still to be written counts as %s, %+v", got.Display.ReadyClusters, got.Summary)
	}
}
