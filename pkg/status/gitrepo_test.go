package status_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func gitRepo() *fleet.GitRepo {
	return &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "repo", Generation: 1}}
}

func TestForGitRepo(t *testing.T) {
	pending := bundleNamed("new")
	pending.Status.Summary = fleet.BundleSummary{DesiredReady: 12, Pending: 12}
	for i := range 10 {
		pending.Status.Summary.NonReadyResources = append(pending.Status.Summary.NonReadyResources, fleet.NonReadyResource{
			Name: fmt.Sprintf("fleet-default/c%02d", i), State: fleet.Pending, Message: "wait",
		})
	}
	invalid := bundleNamed("web")
	invalid.Status.Summary = fleet.BundleSummary{DesiredReady: 2, Ready: 1, ErrApplied: 1, NonReadyResources: []fleet.NonReadyResource{
		{Name: "fleet-default/b", State: fleet.ErrApplied, Message: "the cluster has no .ClusterLabels.env"},
	}}
	behind := bundleNamed("web")
	behind.Status.ObservedGeneration = behind.Generation
	behind.Status.Summary = fleet.BundleSummary{DesiredReady: 2, WaitApplied: 2}
	doubtful := bundleNamed("web")
	doubtful.Status.ObservedGeneration = doubtful.Generation
	doubtful.Status.Summary = fleet.BundleSummary{DesiredReady: 1, Ready: 1}
	status.Set(&doubtful.Status.Conditions, fleet.Condition{Type: fleet.ConditionStalled, Status: "True", Reason: "Invalid", Message: "there is no ClusterGroup"}, at(0))
	leaving := pending.DeepCopy()
	leaving.DeletionTimestamp = &metav1.Time{Time: at(0).Time}
	ready := []*fleet.BundleDeployment{deployment("web", "a", fleet.Ready), deployment("web", "b", fleet.Ready)}

	const fine = "Accepted=True Accepted\nGitPolling=True Polled\n"
	tests := []struct {
		name  string
		facts status.GitRepoFacts
		// display is "n/m State clusters/clusters job".
		display    string
		conditions string
	}{
		{name: "no bundles", facts: status.GitRepoFacts{Commit: "c"}, display: "0/0 Ready 0/0 Current", conditions: fine + "Ready=True Ready\n"},
		{name: "all ready", facts: status.GitRepoFacts{Commit: "c", Deployments: ready}, display: "2/2 Ready 2/2 Current", conditions: fine + "Ready=True Ready\n"},
		{
			name: "the worst state, then the name",
			facts: status.GitRepoFacts{Commit: "c", Deployments: []*fleet.BundleDeployment{
				deployment("z", "a", fleet.ErrApplied), deployment("b", "a", fleet.NotReady), deployment("a", "b", fleet.NotReady), deployment("c", "b", fleet.Ready),
			}},
			display: "1/4 ErrApplied 0/2 Current",
			conditions: fine + `Ready=False ErrApplied: ErrApplied(1) [Bundle z: fleet-default/a: it failed]; NotReady(2) [Bundle a: fleet-default/b]
Reconciling=True ErrApplied: ErrApplied(1) [Bundle z: fleet-default/a: it failed]; NotReady(2) [Bundle a: fleet-default/b]
Stalled=True ErrApplied: ErrApplied(1) [Bundle z: fleet-default/a: it failed]; NotReady(2) [Bundle a: fleet-default/b]
`,
		},
		{
			name:    "targets without a deployment are counted, however many",
			facts:   status.GitRepoFacts{Commit: "c", Bundles: []*fleet.Bundle{pending}, Deployments: ready},
			display: "2/14 Pending 2/2 Current",
			conditions: fine + `Ready=False Pending: Pending(12) [Bundle new: fleet-default/c00: wait]
Reconciling=True Pending: Pending(12) [Bundle new: fleet-default/c00: wait]
`,
		},
		{name: "a bundle that is leaving does not count", facts: status.GitRepoFacts{Commit: "c", Bundles: []*fleet.Bundle{leaving}}, display: "0/0 Ready 0/0 Current", conditions: fine + "Ready=True Ready\n"},
		{
			name:    "options that do not hold on a cluster",
			facts:   status.GitRepoFacts{Commit: "c", Bundles: []*fleet.Bundle{invalid}, Deployments: ready},
			display: "1/2 ErrApplied 2/2 Current",
			conditions: fine + `Ready=False ErrApplied: ErrApplied(1) [Bundle web: fleet-default/b: the cluster has no .ClusterLabels.env]
Stalled=True ErrApplied: ErrApplied(1) [Bundle web: fleet-default/b: the cluster has no .ClusterLabels.env]
`,
		},
		{name: "deployments that are ahead of their bundle", facts: status.GitRepoFacts{Commit: "c", Bundles: []*fleet.Bundle{behind}, Deployments: ready}, display: "2/2 Ready 2/2 Current", conditions: fine + "Ready=True Ready\n"},
		{
			name:    "deployments of the commit before: the bundle has not been acted on yet",
			facts:   status.GitRepoFacts{Commit: "c", Bundles: []*fleet.Bundle{bundleNamed("web")}, Deployments: ready},
			display: "0/2 WaitApplied 2/2 Current",
			conditions: fine + `Ready=False WaitApplied: WaitApplied(2) [Bundle web: fleet-default/a]
Reconciling=True WaitApplied: WaitApplied(2) [Bundle web: fleet-default/a]
`,
		},
		{
			name:    "deployments of the commit before: the bundle was written a moment ago",
			facts:   status.GitRepoFacts{Commit: "c", Bundles: []*fleet.Bundle{behind}, Stale: map[string]bool{"web": true}, Deployments: ready},
			display: "0/2 WaitApplied 2/2 Current",
			conditions: fine + `Ready=False WaitApplied: WaitApplied(2) [Bundle web: fleet-default/a]
Reconciling=True WaitApplied: WaitApplied(2) [Bundle web: fleet-default/a]
`,
		},
		{
			name:    "a bundle with something wrong although all is ready",
			facts:   status.GitRepoFacts{Commit: "c", Bundles: []*fleet.Bundle{doubtful}, Deployments: ready[:1]},
			display: "1/1 Ready 1/1 Current",
			conditions: fine + `Ready=False Invalid: bundle web: there is no ClusterGroup
Stalled=True Invalid: bundle web: there is no ClusterGroup
`,
		},
		{
			name:       "removing",
			facts:      status.GitRepoFacts{Commit: "c", Deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Ready, removing), deployment("db", "a", fleet.Ready, removing)}},
			display:    "0/0 Ready 0/0 Current",
			conditions: fine + "Ready=True Ready\nRemoving=True WaitingForAgents: 1 to confirm: fleet-default/a\n",
		},
		{
			name:       "a newer commit is read",
			facts:      status.GitRepoFacts{Commit: "c", Updating: true, Deployments: ready},
			display:    "2/2 GitUpdating 2/2 InProgress",
			conditions: fine + "Ready=False GitUpdating: a newer commit is being read\nReconciling=True GitUpdating: a newer commit is being read\n",
		},
		{
			name:       "the repository cannot be reached: it will be tried again",
			facts:      status.GitRepoFacts{Commit: "c", Fetch: &status.Problem{Reason: "Unreachable", Message: "no"}, Deployments: ready},
			display:    "2/2 Ready 2/2 Failed",
			conditions: "Accepted=True Accepted\nGitPolling=False Unreachable: no\nReady=False Unreachable: no\nReconciling=True Unreachable: no\n",
		},
		{
			name:       "the password is wrong: a user has to act",
			facts:      status.GitRepoFacts{Commit: "c", Fetch: &status.Problem{Reason: "AuthenticationFailed", Message: "no"}, FetchStalled: true, Deployments: ready},
			display:    "2/2 Ready 2/2 Failed",
			conditions: "Accepted=True Accepted\nGitPolling=False AuthenticationFailed: no\nReady=False AuthenticationFailed: no\nStalled=True AuthenticationFailed: no\n",
		},
		{
			name:       "the commit has errors",
			facts:      status.GitRepoFacts{Commit: "c", Problems: []status.Problem{{Reason: "InvalidBundle", Message: "a/fleet.yaml:3: no"}, {Reason: "X", Message: "and b"}}, Deployments: ready},
			display:    "2/2 Ready 2/2 Failed",
			conditions: "Accepted=False InvalidBundle: a/fleet.yaml:3: no; and b\nGitPolling=True Polled\nReady=False InvalidBundle: a/fleet.yaml:3: no; and b\nStalled=True InvalidBundle: a/fleet.yaml:3: no; and b\n",
		},
		{
			name:       "warnings stop nothing",
			facts:      status.GitRepoFacts{Commit: "c", Warnings: []string{"a/fleet.yaml:3: unknown field"}, Deployments: ready},
			display:    "2/2 Ready 2/2 Current",
			conditions: "Accepted=True Warnings: a/fleet.yaml:3: unknown field\nGitPolling=True Polled\nReady=True Ready\n",
		},
		{
			name:       "refused",
			facts:      status.GitRepoFacts{Refused: &status.Problem{Reason: "NotImplemented", Message: "no OCI"}},
			display:    "0/0 Ready 0/0 Failed",
			conditions: "Accepted=False NotImplemented: no OCI\nReady=False NotImplemented: no OCI\nStalled=True NotImplemented: no OCI\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.facts
			f.GitRepo, f.Known, f.Generation, f.Now = gitRepo(), true, 1, at(1)
			f.GitRepo.Status.Commit = f.Commit
			got := status.ForGitRepo(f)
			display := fmt.Sprintf("%s %s %d/%d %s", got.Display.ReadyBundleDeployments, got.Display.State, got.ReadyClusters, got.DesiredReadyClusters, got.GitJobStatus)
			if display != tt.display {
				t.Errorf("display = %s, want %s", display, tt.display)
			}
			if diff := cmp.Diff(tt.conditions, showConditions(t, got.Conditions)); diff != "" {
				t.Errorf("conditions differ (-want +got):\n%s", diff)
			}
			stalled := status.Get(got.Conditions, fleet.ConditionStalled) != nil
			if got.Display.Error != stalled {
				t.Errorf("display.error = %v, stalled = %v", got.Display.Error, stalled)
			}
		})
	}
}

// After a start of the manager nothing is written until there is news.
func TestForGitRepoKeepsWhatItSaysUntilItKnows(t *testing.T) {
	f := status.GitRepoFacts{
		GitRepo: gitRepo(), Known: true, Generation: 1, Commit: "c", Now: at(1),
		Deployments: []*fleet.BundleDeployment{deployment("web", "a", fleet.Ready, withObjects("v1 ConfigMap x/a"))},
		Fetch:       &status.Problem{Reason: "AuthenticationFailed", Message: "no"}, FetchStalled: true,
	}
	f.GitRepo.Status = status.ForGitRepo(f)
	after := status.GitRepoFacts{GitRepo: f.GitRepo, Generation: 1, Deployments: f.Deployments, Now: at(2)}
	if diff := cmp.Diff(f.GitRepo.Status, status.ForGitRepo(after)); diff != "" {
		t.Errorf("status differs after a restart:\n%s", diff)
	}
	fresh := status.ForGitRepo(status.GitRepoFacts{GitRepo: gitRepo(), Generation: 1, Now: at(1)})
	if fresh.GitJobStatus != "InProgress" || fresh.Display.State != "GitUpdating" {
		t.Errorf("a new GitRepo: %s, %s", fresh.GitJobStatus, fresh.Display.State)
	}
}

func TestResources(t *testing.T) {
	const web, cm, role = "apps/v1 Deployment x/web", "v1 ConfigMap x/cm", "rbac.authorization.k8s.io/v1 ClusterRole admin"
	f := status.GitRepoFacts{GitRepo: gitRepo(), Known: true, Now: at(1), Deployments: []*fleet.BundleDeployment{
		deployment("web", "a", fleet.Ready, withObjects(web, cm, role)),
		deployment("web", "b", fleet.NotReady, withObjects(web, cm, role), notReady(web, "updating", "Available: 0/1")),
		deployment("web", "c", fleet.Modified, withObjects(web, cm, role), modified(cm, `{"a":1}`), modified(role, "missing"), modified("v1 Secret x/old", "extra")),
		deployment("web", "d", fleet.WaitApplied, withObjects(web, cm, role)),
		deployment("web", "e", fleet.ErrApplied, withObjects(web, cm, role)),
		deployment("web", "f", fleet.OutOfSync, withObjects(web, cm, role)),
		deployment("web", "g", fleet.NotReady, withObjects(web), notReady(web, "error", "Failed"), func(bd *fleet.BundleDeployment) { bd.Status.IncompleteState = true }),
		deployment("other", "a", fleet.Ready, withObjects(web)),
		deployment("web", "h", fleet.Ready, withObjects(web), removing),
	}}
	var got []string
	for _, r := range status.ForGitRepo(f).Resources {
		got = append(got, fmt.Sprintf("%s %s: %s error=%v transitioning=%v incomplete=%v %q %s",
			r.Type, r.ID, r.State, r.Error, r.Transitioning, r.IncompleteState, r.Message, strings.ReplaceAll(asJSON(t, r.PerClusterState), "fleet-default/", "")))
	}
	want := []string{
		`apps.deployment x/web: ErrApplied error=true transitioning=true incomplete=true "" {"ready":["a","c"],"waitApplied":["d"],"notReady":["b","g"]}`,
		`configmap x/cm: ErrApplied error=false transitioning=false incomplete=false "" {"ready":["a","b"],"waitApplied":["d"],"modified":["c"]}`,
		`rbac.authorization.k8s.io.clusterrole admin: ErrApplied error=false transitioning=false incomplete=false "" {"ready":["a","b"],"waitApplied":["d"],"missing":["c"]}`,
		`secret x/old: Orphaned error=false transitioning=false incomplete=false "" {"orphaned":["c"]}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources differ (-want +got):\n%s", diff)
	}
}

func TestResourceMessages(t *testing.T) {
	const web = "apps/v1 Deployment x/web"
	f := status.GitRepoFacts{GitRepo: gitRepo(), Known: true, Now: at(1), Deployments: []*fleet.BundleDeployment{
		deployment("web", "a", fleet.Ready, withObjects(web)),
		deployment("web", "b", fleet.NotReady, withObjects(web), notReady(web, "updating", "Available: 0/1", "more")),
	}}
	r := status.ForGitRepo(f).Resources[0]
	if r.State != "updating" || r.Message != "Available: 0/1, more" || !r.Transitioning || r.Error {
		t.Errorf("resource = %+v", r)
	}
}

// However large the fleet, a status stays small, and what is wrong is in it.
func TestStatusIsBounded(t *testing.T) {
	f := status.GitRepoFacts{GitRepo: gitRepo(), Known: true, Now: at(1)}
	for c := range 300 {
		for b := range 4 {
			state := fleet.Ready
			if c == 299 {
				state = fleet.ErrApplied
			}
			var objects []string
			for o := range 200 {
				objects = append(objects, fmt.Sprintf("v1 ConfigMap a-rather-long-namespace/bundle-%d-object-%03d", b, o))
			}
			f.Deployments = append(f.Deployments, deployment(fmt.Sprint("bundle-", b), fmt.Sprintf("a-rather-long-name-of-a-cluster-%03d", c), state, withObjects(objects...)))
		}
	}
	got := status.ForGitRepo(f)
	if size := len(asJSON(t, got)); size > 700_000 {
		t.Errorf("the status has %d bytes", size)
	}
	if len(got.Resources) != 500 || len(got.PerClusterResourceCounts) != 50 {
		t.Errorf("%d resources, %d clusters", len(got.Resources), len(got.PerClusterResourceCounts))
	}
	if _, ok := got.PerClusterResourceCounts["fleet-default/a-rather-long-name-of-a-cluster-299"]; !ok {
		t.Error("the cluster in the worst state is not named")
	}
	for _, r := range got.Resources {
		if !r.IncompleteState {
			t.Fatalf("%s does not say that it is incomplete", r.ID)
		}
	}
	if want := 300 * 4 * 200; got.ResourceCounts.DesiredReady != want {
		t.Errorf("resource counts = %d, want %d: counts are never cut", got.ResourceCounts.DesiredReady, want)
	}
	if got.DesiredReadyClusters != 300 || got.ReadyClusters != 299 || got.Display.ReadyBundleDeployments != "1196/1200" {
		t.Errorf("%d/%d clusters, %s", got.ReadyClusters, got.DesiredReadyClusters, got.Display.ReadyBundleDeployments)
	}
}

func BenchmarkForGitRepo(b *testing.B) {
	f := status.GitRepoFacts{GitRepo: gitRepo(), Known: true, Now: at(1)}
	for c := range 1000 {
		for n := range 10 {
			f.Deployments = append(f.Deployments, deployment(fmt.Sprint("b", n), fmt.Sprintf("c-%04d", c), fleet.Ready,
				withObjects("v1 ConfigMap x/a", "apps/v1 Deployment x/b", fmt.Sprintf("v1 Service x/s%d", n))))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		status.ForGitRepo(f)
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// decoded returns all texts of a JSON document.
func decoded(t testing.TB, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(fmt.Sprintf("%v", v), "\n", "\x00")
}

// What is wrong with the Secret of webhooks is said once it was looked at, and taken back then; before that, as after a restart, what
// was said stands.
func TestWebhookSecret(t *testing.T) {
	told := func(known bool, problem *status.Problem) string {
		repo := &fleet.GitRepo{}
		repo.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionWebhookSecret, Status: metav1.ConditionFalse, Reason: "Before"}}
		now := status.ForGitRepo(status.GitRepoFacts{GitRepo: repo, WebhookKnown: known, Webhook: problem})
		condition := status.Get(now.Conditions, fleet.ConditionWebhookSecret)
		if condition == nil {
			return ""
		}
		return condition.Reason
	}
	for _, tt := range []struct {
		name    string
		known   bool
		problem *status.Problem
		want    string
	}{
		{"not looked at yet", false, nil, "Before"},
		{"right by now", true, nil, ""},
		{"wrong", true, &status.Problem{Reason: "SecretMissing", Message: "it is missing"}, "SecretMissing"},
	} {
		if got := told(tt.known, tt.problem); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
