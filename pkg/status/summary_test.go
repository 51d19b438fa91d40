package status_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// The form of these messages is known to users and to other programs.
func TestReadyMessage(t *testing.T) {
	item := func(state fleet.BundleState, name, message string) fleet.NonReadyResource {
		return fleet.NonReadyResource{Name: name, State: state, Message: message}
	}
	full := item(fleet.NotReady, "b", "")
	for i := range 6 {
		full.NonReadyStatus = append(full.NonReadyStatus, fleet.NonReadyStatus{
			Kind: "Pod", APIVersion: "v1", Namespace: "x", Name: fmt.Sprint("p", i), Summary: fleet.ResourceSummary{Transitioning: true},
		})
	}
	tests := []struct {
		name    string
		summary fleet.BundleSummary
		want    string
	}{
		{name: "all ready", summary: fleet.BundleSummary{Ready: 3, DesiredReady: 3}},
		{
			name:    "one",
			summary: fleet.BundleSummary{NotReady: 1, NonReadyResources: []fleet.NonReadyResource{item(fleet.NotReady, "a", "")}},
			want:    "NotReady(1) [Bundle a]",
		},
		{
			name:    "with a message",
			summary: fleet.BundleSummary{ErrApplied: 2, NonReadyResources: []fleet.NonReadyResource{item(fleet.ErrApplied, "a", "no"), item(fleet.ErrApplied, "b", "never")}},
			want:    "ErrApplied(2) [Bundle a: no]",
		},
		{
			name: "states in the order of the alphabet",
			summary: fleet.BundleSummary{NotReady: 1, ErrApplied: 1, WaitApplied: 1, Modified: 1, OutOfSync: 1, Pending: 1, NonReadyResources: []fleet.NonReadyResource{
				item(fleet.WaitApplied, "a", ""), item(fleet.ErrApplied, "b", ""), item(fleet.Modified, "c", ""),
				item(fleet.OutOfSync, "d", ""), item(fleet.Pending, "e", ""), item(fleet.NotReady, "f", ""),
			}},
			want: "ErrApplied(1) [Bundle b]; Modified(1) [Bundle c]; NotReady(1) [Bundle f]; OutOfSync(1) [Bundle d]; Pending(1) [Bundle e]; WaitApplied(1) [Bundle a]",
		},
		{
			name:    "at most four objects",
			summary: fleet.BundleSummary{NotReady: 1, NonReadyResources: []fleet.NonReadyResource{full}},
			want:    "NotReady(1) [Bundle b]; pod.v1 x/p0 [progressing]; pod.v1 x/p1 [progressing]; pod.v1 x/p2 [progressing]; pod.v1 x/p3 [progressing]",
		},
		{name: "a state that no item of the list is in", summary: fleet.BundleSummary{NotReady: 11}, want: "NotReady(11)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := status.ReadyMessage(tt.summary, "Bundle"); got != tt.want {
				t.Errorf("ReadyMessage() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMessagesOfObjects(t *testing.T) {
	for want, m := range map[string]fleet.ModifiedStatus{
		`configmap.v1 ns/name modified {"a":1}`:      {Kind: "ConfigMap", APIVersion: "v1", Namespace: "ns", Name: "name", Patch: `{"a":1}`},
		`deployment.apps ns/name missing`:            {Kind: "Deployment", APIVersion: "apps/v1", Namespace: "ns", Name: "name", Create: true},
		`deployment.apps ns/name extra`:              {Kind: "Deployment", APIVersion: "apps/v1", Namespace: "ns", Name: "name", Delete: true},
		`clusterrole.rbac.x name is not owned by us`: {Kind: "ClusterRole", APIVersion: "rbac.x/v1", Name: "name", Create: true, Exist: true},
		`secret.v1 ns/name modified`:                 {Kind: "Secret", APIVersion: "v1", Namespace: "ns", Name: "name"},
	} {
		if got := status.ModifiedMessage(m); got != want {
			t.Errorf("ModifiedMessage() = %q, want %q", got, want)
		}
	}
	object := func(s fleet.ResourceSummary) fleet.NonReadyStatus {
		return fleet.NonReadyStatus{Kind: "Pod", APIVersion: "v1", Namespace: "ns", Name: "name", Summary: s}
	}
	for want, n := range map[string]fleet.NonReadyStatus{
		`pod.v1 ns/name [progressing,error] a, b`: object(fleet.ResourceSummary{Transitioning: true, Error: true, Message: []string{"a", "b"}}),
		`pod.v1 ns/name [progressing] a`:          object(fleet.ResourceSummary{Transitioning: true, State: "updating", Message: []string{"a"}}),
		`pod.v1 ns/name [error]`:                  object(fleet.ResourceSummary{Error: true}),
		`pod.v1 ns/name [unknown]`:                object(fleet.ResourceSummary{State: "unknown"}),
		`pod.v1 ns/name`:                          object(fleet.ResourceSummary{}),
	} {
		if got := status.NonReadyMessage(n); got != want {
			t.Errorf("NonReadyMessage() = %q, want %q", got, want)
		}
	}
}

func TestSummaryListsTheWorstFirst(t *testing.T) {
	f := status.BundleFacts{Bundle: bundleNamed("web"), Known: true, Now: at(1)}
	for i := range 30 {
		state := []fleet.BundleState{fleet.NotReady, fleet.Modified, fleet.ErrApplied}[i%3]
		cluster := fmt.Sprintf("c%02d", 29-i)
		f.Deployments = append(f.Deployments, deployment("web", cluster, state))
		f.Targets = append(f.Targets, targets(cluster)...)
	}
	got := status.ForBundle(f)
	var list []string
	for _, r := range got.Summary.NonReadyResources {
		list = append(list, string(r.State)+" "+strings.TrimPrefix(r.Name, workspace+"/"))
	}
	want := []string{}
	for i := 0; i < 30; i += 3 {
		want = append(want, fmt.Sprintf("ErrApplied c%02d", i))
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("list differs (-want +got):\n%s", diff)
	}
	if s := got.Summary; s.ErrApplied != 10 || s.Modified != 10 || s.NotReady != 10 || s.DesiredReady != 30 {
		t.Errorf("summary = %+v", s)
	}
}

// An agent that lies can neither blow up the hub's objects nor write over the
// screen of whoever looks at them.
func TestAgentsAreNotTrusted(t *testing.T) {
	evil := "\x1b[2Jred\r\n\u202Etxt.exe\u200B" + strings.Repeat("é", 100_000) + string([]byte{0xff, 0xfe})
	bd := deployment("web", "a", fleet.ErrApplied, func(bd *fleet.BundleDeployment) {
		bd.Status.Conditions[0].Message = evil
		for range 1000 {
			bd.Status.NonReadyStatus = append(bd.Status.NonReadyStatus, fleet.NonReadyStatus{
				UID: "evil", Kind: evil, APIVersion: evil, Namespace: evil, Name: evil,
				Summary: fleet.ResourceSummary{State: evil, Message: []string{evil, evil, evil, evil, evil, evil}},
			})
			bd.Status.ModifiedStatus = append(bd.Status.ModifiedStatus, fleet.ModifiedStatus{
				Kind: evil, APIVersion: evil, Namespace: evil, Name: evil, Patch: evil,
			})
			bd.Status.Resources = append(bd.Status.Resources, fleet.BundleDeploymentResource{Kind: evil, Name: evil})
		}
		bd.Status.ModifiedStatus[0] = fleet.ModifiedStatus{Kind: "SeCret", APIVersion: "v1", Name: "s", Patch: "s3cret"}
		bd.Status.ResourceCounts = fleet.ResourceCounts{Ready: -1 << 62, DesiredReady: 1 << 62}
	})
	deployments := []*fleet.BundleDeployment{bd, deployment("other", "a", fleet.Ready, func(bd *fleet.BundleDeployment) {
		bd.Status.ResourceCounts = fleet.ResourceCounts{Ready: 5, DesiredReady: 1 << 62}
	})}
	for name, got := range map[string]any{
		"bundle":  status.ForBundle(status.BundleFacts{Bundle: bundleNamed("web"), Known: true, Targets: targets("a"), Deployments: deployments[:1], Now: at(1)}),
		"gitrepo": status.ForGitRepo(status.GitRepoFacts{GitRepo: gitRepo(), Known: true, Deployments: deployments, Now: at(1)}),
		"cluster": status.ForCluster(status.ClusterFacts{Cluster: clusterNamed("a"), Deployments: deployments, Now: at(1)}),
	} {
		text := asJSON(t, got)
		if len(text) > 100_000 {
			t.Errorf("%s: a status of %d bytes", name, len(text))
		}
		if strings.Contains(text, "s3cret") {
			t.Errorf("%s: the status quotes a Secret", name)
		}
		for _, r := range decoded(t, text) {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
				t.Fatalf("%s: the status holds %U", name, r)
			}
		}
		if g, ok := got.(fleet.GitRepoStatus); ok && (g.ResourceCounts.Ready != 5 || g.ResourceCounts.DesiredReady < 0) {
			t.Errorf("resource counts = %+v", g.ResourceCounts)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add("Pod", "v1", "ns", "name", "failed\nbadly", 3)
	f.Add("", "/", "", "\x00", "\xff\xfe", -1)
	f.Fuzz(func(t *testing.T, kind, apiVersion, namespace, name, message string, n int) {
		bd := deployment("web", "a", fleet.NotReady, func(bd *fleet.BundleDeployment) {
			r := fleet.NonReadyStatus{Kind: kind, APIVersion: apiVersion, Namespace: namespace, Name: name}
			r.Summary.Message = []string{message, name}
			bd.Status.NonReadyStatus = []fleet.NonReadyStatus{r, r}
			bd.Status.ModifiedStatus = []fleet.ModifiedStatus{{Kind: kind, APIVersion: apiVersion, Namespace: namespace, Name: name, Patch: message}}
			bd.Status.Resources = []fleet.BundleDeploymentResource{{Kind: kind, APIVersion: apiVersion, Namespace: namespace, Name: name}}
			bd.Status.ResourceCounts.Ready = n
		})
		facts := status.GitRepoFacts{GitRepo: gitRepo(), Known: true, Deployments: []*fleet.BundleDeployment{bd}, Now: at(1)}
		got := status.ForGitRepo(facts)
		for _, r := range decoded(t, asJSON(t, got)) {
			if unicode.IsControl(r) || r == utf8.RuneError {
				t.Fatalf("the status holds %U", r)
			}
		}
		facts.GitRepo.Status = got
		facts.Now = at(2)
		if diff := cmp.Diff(got, status.ForGitRepo(facts)); diff != "" {
			t.Fatalf("the same facts, another status:\n%s", diff)
		}
	})
}
