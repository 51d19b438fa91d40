package deployments

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func deployed(objects int) *release.Release {
	rel := &release.Release{Record: worldWith().Records[0]}
	for i := range objects {
		rel.Objects = append(rel.Objects, configMap(fmt.Sprintf("cm-%03d", i)))
	}
	return rel
}

func configMap(name string) release.Object {
	return release.Object{GroupVersionKind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Namespace: "web", Name: name}
}

func all(rel *release.Release, health Health) []Observation {
	var seen []Observation
	for _, o := range rel.Objects {
		seen = append(seen, Observation{Object: o, Health: health, Message: "it is " + string(health), CreatedAt: metav1.NewTime(noon)})
	}
	return seen
}

func isTrue() *Verdict { return &Verdict{metav1.ConditionTrue, ReasonDeployed, ""} }

func statusWith(bd *fleet.BundleDeployment, r Report) *fleet.BundleDeployment {
	after := bd.DeepCopy()
	after.Status = statusOf(bd, r, metav1.NewTime(noon))
	return after
}

func TestStatusOfADeploymentThatIsReady(t *testing.T) {
	bd := worldWith().Deployment
	bd.Spec.Options.ForceSyncGeneration = 3
	rel := deployed(2)
	got := statusWith(bd, Report{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Healthy)}).Status
	if got.AppliedDeploymentID != "content:1" || got.Release != "web/app:1" || !got.Ready || !got.NonModified || *got.SyncGeneration != 3 {
		t.Errorf("status is %+v", got)
	}
	if got.ResourceCounts != (fleet.ResourceCounts{Ready: 2, DesiredReady: 2}) || len(got.Resources) != 2 {
		t.Errorf("resources are %+v, counts %+v", got.Resources, got.ResourceCounts)
	}
	want := fleet.BundleDeploymentDisplay{Deployed: "True", Monitored: "True", State: "Ready"}
	if got.Display != want {
		t.Errorf("display is %+v", got.Display)
	}
	for _, kind := range []string{fleet.ConditionReady, fleet.ConditionDeployed, fleet.ConditionInstalled, fleet.ConditionMonitored} {
		if c := status.Get(got.Conditions, kind); c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != 4 {
			t.Errorf("condition %s is %+v", kind, c)
		}
	}
}

func TestStatusDoesNotChangeWhenNothingDoes(t *testing.T) {
	bd := worldWith().Deployment
	rel := deployed(3)
	for _, r := range []Report{
		{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Healthy)},
		{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Progressing)},
		{Deployed: &Verdict{metav1.ConditionFalse, ReasonFailed, "no"}, Release: rel, Seen: all(rel, Missing)},
		{Deployed: &Verdict{metav1.ConditionUnknown, ReasonPaused, "paused"}},
		{Removed: &Verdict{metav1.ConditionFalse, fleet.ReasonUninstalling, "waiting"}},
		{Removed: &Verdict{metav1.ConditionTrue, ReasonRemoved, "gone"}},
	} {
		once := statusWith(bd, r)
		later := once.DeepCopy()
		later.Status = statusOf(once, r, metav1.NewTime(noon.Add(time.Hour)))
		if diff := cmp.Diff(once.Status, later.Status); diff != "" {
			t.Errorf("the status changed:\n%s", diff)
		}
	}
}

func TestStatusTellsWhatIsWrong(t *testing.T) {
	rel := deployed(1)
	for _, test := range []struct {
		name    string
		bd      func(*fleet.BundleDeployment)
		report  Report
		state   fleet.BundleState
		ready   metav1.ConditionStatus
		message string
	}{
		{
			name: "an object is on its way", report: Report{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Progressing)},
			state: fleet.NotReady, ready: metav1.ConditionFalse, message: "configmap.v1 web/cm-000 [progressing] it is Progressing",
		},
		{
			name: "an object is broken", report: Report{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Degraded)},
			state: fleet.NotReady, ready: metav1.ConditionFalse, message: "configmap.v1 web/cm-000 [error] it is Degraded",
		},
		{
			name: "an object is missing", report: Report{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Missing)},
			state: fleet.Modified, ready: metav1.ConditionFalse, message: "configmap.v1 web/cm-000 missing",
		},
		{
			name: "an object is somebody else's", report: Report{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, NotOurs)},
			state: fleet.Modified, ready: metav1.ConditionFalse, message: "configmap.v1 web/cm-000 is not owned by us",
		},
		{
			name: "it could not be deployed", report: Report{Deployed: &Verdict{metav1.ConditionFalse, ReasonFailed, "no such kind"}},
			state: fleet.ErrApplied, ready: metav1.ConditionFalse, message: "no such kind",
		},
		{
			name: "it waits", report: Report{Deployed: &Verdict{metav1.ConditionUnknown, ReasonWaitingForDependency, "waiting for base"}},
			state: fleet.WaitApplied, ready: metav1.ConditionFalse, message: "waiting for base",
		},
		{
			name: "something newer is staged", report: Report{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Healthy)},
			bd:    func(bd *fleet.BundleDeployment) { bd.Spec.StagedDeploymentID = "content:2" },
			state: fleet.OutOfSync, ready: metav1.ConditionTrue, message: "staged",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			bd := worldWith().Deployment
			if test.bd != nil {
				test.bd(bd)
			}
			after := statusWith(bd, test.report)
			if got := status.DeploymentState(after); got != test.state || after.Status.Display.State != string(got) {
				t.Errorf("state is %s, displayed %s, want %s", got, after.Status.Display.State, test.state)
			}
			c := status.Get(after.Status.Conditions, fleet.ConditionReady)
			if c.Status != test.ready || !strings.Contains(c.Message, test.message) {
				t.Errorf("Ready is %s %q, want %s %q", c.Status, c.Message, test.ready, test.message)
			}
		})
	}
}

func TestStatusIsBounded(t *testing.T) {
	bd := worldWith().Deployment
	rel := deployed(5000)
	got := statusWith(bd, Report{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Degraded)}).Status
	if len(got.NonReadyStatus) != maxListed || len(got.Resources) != maxResources || !got.IncompleteState {
		t.Errorf("%d not ready and %d resources are listed, incomplete is %v", len(got.NonReadyStatus), len(got.Resources), got.IncompleteState)
	}
	if got.ResourceCounts.NotReady != 5000 {
		t.Errorf("counts are %+v", got.ResourceCounts)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 256<<10 {
		t.Errorf("the status has %d bytes", len(data))
	}
	if message := status.Get(got.Conditions, fleet.ConditionReady).Message; !strings.Contains(message, "and 6 more") {
		t.Errorf("message is %q", message)
	}
}

func TestStatusOfARemovalKeepsWhatWasSeen(t *testing.T) {
	bd := worldWith(deleted).Deployment
	rel := deployed(1)
	bd = statusWith(bd, Report{Deployed: isTrue(), Applied: true, Release: rel, Seen: all(rel, Healthy)})
	going := statusWith(bd, Report{Removed: &Verdict{metav1.ConditionFalse, fleet.ReasonUninstalling, "waiting"}})
	if going.Status.Release == "" || len(going.Status.Resources) != 1 {
		t.Errorf("while it goes the status is %+v", going.Status)
	}
	gone := statusWith(going, Report{Removed: &Verdict{metav1.ConditionTrue, ReasonRemoved, "gone"}})
	if gone.Status.Release != "" || gone.Status.Ready || !status.IsTrue(gone.Status.Conditions, fleet.ConditionRemoved) ||
		status.IsTrue(gone.Status.Conditions, fleet.ConditionInstalled) {
		t.Errorf("when it is gone the status is %+v", gone.Status)
	}
}

func TestHealthOfObjects(t *testing.T) {
	key := release.Key{Namespace: "web", Name: "app"}
	for _, test := range []struct {
		name    string
		yaml    string
		ignored []map[string]string
		want    Health
		says    string
	}{
		{name: "missing", want: Missing, says: "does not exist"},
		{name: "a kind without status", yaml: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}", want: Healthy},
		{
			name: "of another release", want: NotOurs,
			yaml: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, annotations: {meta.helm.sh/release-name: other, meta.helm.sh/release-namespace: web}}}",
		},
		{
			name: "of this release", want: Healthy,
			yaml: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, annotations: {meta.helm.sh/release-name: app, meta.helm.sh/release-namespace: web}}}",
		},
		{
			name: "being deleted", want: Leaving, says: "being deleted",
			yaml: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, deletionTimestamp: '2026-11-21T12:00:00Z'}}",
		},
		{
			name: "a deployment without its pods", want: Progressing,
			yaml: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x, generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 1, readyReplicas: 1}}",
		},
		{
			name: "a deployment whose controller has not seen it", want: Progressing,
			yaml: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x, generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1, readyReplicas: 1}}",
		},
		{
			name: "a deployment with all its pods", want: Healthy,
			yaml: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x, generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1, readyReplicas: 1, conditions: [{type: Available, status: 'True'}]}}",
		},
		{
			name: "a deployment that gave up", want: Degraded,
			yaml: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x, generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}}",
		},
		{
			name: "a job that failed", want: Degraded,
			yaml: "{apiVersion: batch/v1, kind: Job, metadata: {name: x}, status: {startTime: '2026-11-21T12:00:00Z', conditions: [{type: Failed, status: 'True', message: no}]}}",
		},
		{
			name: "a custom resource that says it is not ready", want: Progressing, says: "not yet",
			yaml: "{apiVersion: example.com/v1, kind: Widget, metadata: {name: x}, status: {conditions: [{type: Ready, status: 'False', message: not yet}]}}",
		},
		{
			name: "the same, with that condition ignored", want: Healthy, ignored: []map[string]string{{"type": "Ready", "status": "False"}},
			yaml: "{apiVersion: example.com/v1, kind: Widget, metadata: {name: x}, status: {conditions: [{type: Ready, status: 'False'}]}}",
		},
		{
			name: "the same, with another condition ignored", want: Progressing, ignored: []map[string]string{{"type": "Ready", "status": "Unknown"}, {}},
			yaml: "{apiVersion: example.com/v1, kind: Widget, metadata: {name: x}, status: {conditions: [{type: Ready, status: 'False'}]}}",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var live *unstructured.Unstructured
			if test.yaml != "" {
				live = &unstructured.Unstructured{}
				data, err := yaml.YAMLToJSON([]byte(test.yaml))
				if err != nil {
					t.Fatal(err)
				}
				if err := live.UnmarshalJSON(data); err != nil {
					t.Fatal(err)
				}
			}
			before := live.DeepCopy()
			got := observe(configMap("x"), live, key, test.ignored)
			if got.Health != test.want || !strings.Contains(got.Message, test.says) {
				t.Errorf("it is %s %q, want %s %q", got.Health, got.Message, test.want, test.says)
			}
			if diff := cmp.Diff(before, live); diff != "" {
				t.Errorf("the object was changed:\n%s", diff)
			}
		})
	}
}
