package deployments

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// worldWith returns the world of a deployment that is installed and in sync,
// changed by the edits.
func worldWith(edits ...func(*World)) World {
	owner := release.Owner{Deployment: "app", UID: "uid-1", Hub: "hub", Agent: names.NamespaceSystem}
	bd := &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{
			Name: "app", UID: owner.UID, Generation: 4, Finalizers: []string{names.FinalizerDeployment},
			Labels: map[string]string{names.LabelBundleName: "app", names.LabelBundleNamespace: "fleet-default"},
		},
		Spec: fleet.BundleDeploymentSpec{
			DeploymentID: "content:1", StagedDeploymentID: "content:1",
			Options: fleet.BundleDeploymentOptions{DefaultNamespace: "web"},
		},
	}
	w := World{
		Deployment: bd, Owner: owner, Now: noon,
		Records: []release.Record{{
			Key: release.Key{Namespace: "web", Name: "app"}, Revision: 1, Status: release.StatusDeployed,
			Deployment: "app", UID: owner.UID, Hub: owner.Hub, Agent: owner.Agent, Digest: release.Digest("content:1"),
		}},
	}
	for _, edit := range edits {
		edit(&w)
	}
	w.Self = neighbour(w.Deployment)
	return w
}

func deleted(w *World) {
	now := metav1.NewTime(noon)
	w.Deployment.DeletionTimestamp = &now
}

func notInstalled(w *World) { w.Records = nil }

func TestDecide(t *testing.T) {
	spec := func(edit func(*fleet.BundleDeploymentSpec)) func(*World) {
		return func(w *World) { edit(&w.Deployment.Spec) }
	}
	outdated := func(w *World) { w.Records[0].Digest = "other" }
	waitsForBase := spec(func(s *fleet.BundleDeploymentSpec) { s.DependsOn = []fleet.BundleRef{{Name: "base"}} })
	base := func(state fleet.BundleState) func(*World) {
		return func(w *World) {
			w.Others = append(w.Others, Neighbour{Name: "base", Bundle: "base", Workspace: "fleet-default", State: state})
		}
	}
	failedUntil := func(after time.Duration) func(*World) {
		return func(w *World) { w.Last = &Attempt{Inputs: w.inputs(), Failures: 1, Next: noon.Add(after)} }
	}
	for _, test := range []struct {
		name   string
		world  World
		step   Step
		reason string
		says   string
	}{
		{name: "in sync", world: worldWith(), step: StepMonitor},
		{name: "not installed", world: worldWith(notInstalled), step: StepDeploy},
		{name: "made from something else", world: worldWith(outdated), step: StepDeploy},
		{name: "release failed", world: worldWith(func(w *World) { w.Records[0].Status = release.StatusFailed }), step: StepDeploy},
		{name: "agent was killed", world: worldWith(func(w *World) { w.Records[0].Status = release.StatusPendingUpgrade }), step: StepDeploy},
		{name: "deployment was made anew", world: worldWith(func(w *World) { w.Records[0].UID = "uid-0" }), step: StepDeploy},
		{name: "renamed", world: worldWith(func(w *World) { w.Records[0].Key.Name = "old" }), step: StepDeploy},
		{
			name: "no finalizer", step: StepLeave, reason: ReasonNoFinalizer,
			world: worldWith(notInstalled, func(w *World) { w.Deployment.Finalizers = []string{"somebody/else"} }),
		},
		{
			name:  "no finalizer any more, but something newer to run",
			world: worldWith(outdated, func(w *World) { w.Deployment.Finalizers = nil }), step: StepLeave, reason: ReasonNoFinalizer,
		},
		{name: "paused", world: worldWith(outdated, spec(func(s *fleet.BundleDeploymentSpec) { s.Paused = true })), step: StepLeave, reason: ReasonPaused},
		{name: "off schedule", world: worldWith(outdated, spec(func(s *fleet.BundleDeploymentSpec) { s.OffSchedule = true })), step: StepLeave, reason: ReasonOffSchedule},
		{
			name: "staged only: it is not the agent's yet", step: StepLeave, reason: ReasonNothingAsked,
			world: worldWith(notInstalled, spec(func(s *fleet.BundleDeploymentSpec) { s.DeploymentID = "" })),
		},
		{
			name: "staged differs: what is current is in sync", step: StepMonitor,
			world: worldWith(spec(func(s *fleet.BundleDeploymentSpec) { s.StagedDeploymentID = "content:2" })),
		},
		{
			name: "what this version cannot do", step: StepLeave, reason: fleet.ReasonNotImplemented, says: "ociContents",
			world: worldWith(outdated, spec(func(s *fleet.BundleDeploymentSpec) { s.OCIContents = true })),
		},
		{name: "values are not there yet", world: worldWith(outdated, spec(func(s *fleet.BundleDeploymentSpec) { s.WaitingForValues = true })), step: StepWait, reason: ReasonWaitingForValues},
		{name: "dependency is missing", world: worldWith(outdated, waitsForBase), step: StepWait, reason: ReasonWaitingForDependency, says: "bundle base"},
		{name: "dependency is not ready", world: worldWith(outdated, waitsForBase, base(fleet.NotReady)), step: StepWait, reason: ReasonWaitingForDependency, says: "base is NotReady"},
		{name: "dependency is ready", world: worldWith(outdated, waitsForBase, base(fleet.Ready)), step: StepDeploy},
		{name: "in sync: dependencies no longer matter", world: worldWith(waitsForBase, base(fleet.NotReady)), step: StepMonitor},
		{name: "failed a moment ago", world: worldWith(outdated, failedUntil(time.Second)), step: StepWait, reason: ReasonRetryLater},
		{name: "failed, and it is time", world: worldWith(outdated, failedUntil(0)), step: StepDeploy},
		{
			name: "failed, but something else is asked for now", step: StepDeploy,
			world: worldWith(outdated, failedUntil(time.Hour), func(w *World) { w.Deployment.Generation++ }),
		},
		{name: "deleted", world: worldWith(deleted), step: StepRemove},
		{name: "deleted while paused", world: worldWith(deleted, spec(func(s *fleet.BundleDeploymentSpec) { s.Paused = true })), step: StepRemove},
		{name: "deleted, and nothing known to be installed: it is looked up", world: worldWith(deleted, notInstalled), step: StepRemove},
		{
			name: "deleted, but what depends on it is not gone yet", step: StepWait, reason: ReasonWaitingForDependents, says: "top",
			world: worldWith(deleted, func(w *World) {
				w.Others = []Neighbour{{Name: "top", Workspace: "fleet-default", Removing: true, DependsOn: []fleet.BundleRef{{Name: "app"}}}}
			}),
		},
		{
			name: "deleted, and what depends on it stays: nobody is waited for", step: StepRemove,
			world: worldWith(deleted, func(w *World) {
				w.Others = []Neighbour{{Name: "top", Workspace: "fleet-default", DependsOn: []fleet.BundleRef{{Name: "app"}}}}
			}),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Decide(test.world)
			if got.Step != test.step || got.Reason != test.reason {
				t.Errorf("decision is %s for %q, want %s for %q", got.Step, got.Reason, test.step, test.reason)
			}
			if !strings.Contains(got.Message, test.says) {
				t.Errorf("message is %q, want %q in it", got.Message, test.says)
			}
		})
	}
}

func TestDecideKnowsReleasesElsewhere(t *testing.T) {
	w := worldWith(func(w *World) {
		moved := w.Records[0]
		moved.Key.Name = "old"
		foreign := moved
		foreign.Key.Name, foreign.Agent = "foreign", "other"
		w.Records = append(w.Records, moved, foreign)
	})
	got := Decide(w)
	if got.Step != StepDeploy || len(got.Elsewhere) != 1 || got.Elsewhere[0].Name != "old" || got.Current == nil {
		t.Errorf("decision is %+v", got)
	}
}

func TestClaimsByUID(t *testing.T) {
	w := worldWith()
	earlier, foreign, unknown := w.Records[0], w.Records[0], w.Records[0]
	earlier.UID, foreign.Agent, unknown.UID = "uid-0", "other", ""
	records := []release.Record{w.Records[0], earlier, foreign, unknown}
	due, unclaimed := w.claims(records)
	if len(due) != 1 || due[0] != w.Records[0] || len(unclaimed) != 3 {
		t.Errorf("due are %v, unclaimed %v", due, unclaimed)
	}
	w.Deployment.Annotations = map[string]string{names.AnnotationSucceeds: "uid-00,uid-0"}
	if due, unclaimed = w.claims(records); len(due) != 2 || due[1] != earlier || len(unclaimed) != 2 {
		t.Errorf("of a successor, due are %v, unclaimed %v", due, unclaimed)
	}
}

func TestAttemptsWaitTwiceAsLongEachTime(t *testing.T) {
	w := worldWith()
	var waits []time.Duration
	for range 12 {
		w.Last = w.Failed(noon, lastRetry, 0)
		waits = append(waits, w.Last.Next.Sub(noon))
	}
	if waits[0] != time.Second || waits[1] != 2*time.Second || waits[5] != 32*time.Second || waits[11] != lastRetry {
		t.Errorf("waits are %v", waits)
	}
	w.Deployment.Spec.DeploymentID = "content:2"
	if again := w.Failed(noon, lastRetry, 0); again.Failures != 1 {
		t.Errorf("something new starts with %d failures", again.Failures)
	}
	w.Last = &Attempt{Inputs: w.inputs(), Failures: 9}
	if wait := w.Failed(noon, lastGlance, 0).Next.Sub(noon); wait != lastGlance {
		t.Errorf("the longest glance is after %v", wait)
	}
	w.Last = nil
	if spread := w.Failed(noon, lastRetry, 0.5).Next.Sub(noon); spread <= time.Second || spread > 1100*time.Millisecond {
		t.Errorf("the spread wait is %v", spread)
	}
}

func TestForbids(t *testing.T) {
	good := Evidence{Deployment: Terminating, UID: "uid-1", Cluster: Present, Namespace: Present, Kind: Present}
	for _, test := range []struct {
		name string
		edit func(*Evidence)
		uid  string
		says string // empty: removal is allowed
	}{
		{name: "all there, and marked for deletion"},
		{name: "the deployment is missing", edit: func(e *Evidence) { e.Deployment = Absent }, says: "deployment is absent"},
		{name: "the deployment stays", edit: func(e *Evidence) { e.Deployment = Present }, says: "not marked"},
		{name: "another deployment of the same name", edit: func(e *Evidence) { e.UID = "uid-2" }, says: "earlier deployment"},
		{name: "the release does not say what it was made for", uid: "-", says: "earlier deployment"},
		{name: "no Cluster", edit: func(e *Evidence) { e.Cluster = Absent }, says: "Cluster is absent"},
		{name: "the Cluster goes: it is unregistered", edit: func(e *Evidence) { e.Cluster = Terminating }, says: "Cluster is terminating"},
		{name: "no namespace", edit: func(e *Evidence) { e.Namespace = Absent }, says: "namespace is absent"},
		{name: "the namespace goes, and everything in it", edit: func(e *Evidence) { e.Namespace = Terminating }, says: "namespace is terminating"},
		{name: "no definition", edit: func(e *Evidence) { e.Kind = Absent }, says: "definition of BundleDeployments is absent"},
		{name: "the definition goes, and everything of its kind", edit: func(e *Evidence) { e.Kind = Terminating }, says: "definition of BundleDeployments is terminating"},
		{name: "nothing was read", edit: func(e *Evidence) { *e = Evidence{} }, says: "definition"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, recorded := good, good.UID
			if test.edit != nil {
				test.edit(&e)
			}
			if test.uid == "-" {
				recorded, e.UID = "", ""
			}
			got := e.Forbids(recorded)
			if (got == "") != (test.says == "") || !strings.Contains(got, test.says) {
				t.Errorf("it says %q, want %q", got, test.says)
			}
		})
	}
}
