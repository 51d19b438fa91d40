package readiness

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// live returns an object from YAML; numbers are those of the API server's JSON.
func live(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return o
}

func kind(apiVersion, kind, rest string) string {
	return "apiVersion: " + apiVersion + "\nkind: " + kind + "\n" + rest
}

// Parts of objects that the tables share.
const (
	first   = "metadata: {name: x, generation: 1}\n"
	updated = "metadata: {name: x, generation: 2}\n"

	available   = "{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}"
	unavailable = "{type: Available, status: 'False', message: too few}, {type: Progressing, status: 'True', reason: ReplicaSetUpdated}"
)

func TestOf(t *testing.T) {
	ready := fleet.ResourceSummary{State: "ready"}
	on := func(messages ...string) fleet.ResourceSummary {
		return fleet.ResourceSummary{State: "updating", Transitioning: true, Message: messages}
	}
	bad := func(messages ...string) fleet.ResourceSummary {
		return fleet.ResourceSummary{State: "error", Error: true, Message: messages}
	}
	for name, test := range map[string]struct {
		object string
		want   fleet.ResourceSummary
	}{
		"Deployment, ready": {
			kind("apps/v1", "Deployment", first+"spec: {replicas: 1, progressDeadlineSeconds: 600}\nstatus: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, conditions: ["+available+"]}"), ready,
		},
		"Deployment, scaled to nothing": {
			kind("apps/v1", "Deployment", first+"spec: {replicas: 0}\nstatus: {observedGeneration: 1, conditions: ["+available+"]}"), ready,
		},
		"Deployment, not seen yet": {
			kind("apps/v1", "Deployment", updated+"status: {observedGeneration: 1, conditions: ["+available+"]}"),
			on("Deployment generation is 2, but latest observed generation is 1"),
		},
		"Deployment, brand-new": {kind("apps/v1", "Deployment", first+"spec: {replicas: 2}"), on("Replicas: 0/2")},
		"Deployment, rolling": {
			kind("apps/v1", "Deployment", first+"spec: {replicas: 2}\nstatus: {observedGeneration: 1, replicas: 3, updatedReplicas: 1, readyReplicas: 2, availableReplicas: 2, conditions: ["+unavailable+"]}"),
			on("Updated: 1/2"),
		},
		"Deployment, stuck": {
			kind("apps/v1", "Deployment", first+"spec: {replicas: 1, progressDeadlineSeconds: 1}\nstatus: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: ReplicaSet x has timed out}]}"),
			bad("Progress deadline exceeded", "Progressing: ReplicaSet x has timed out"),
		},
		"Deployment, over a quota": {
			kind("apps/v1", "Deployment", first+"spec: {replicas: 1}\nstatus: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: exceeded quota}]}"),
			bad("Replicas: 0/1", "ReplicaFailure: exceeded quota"),
		},
		"StatefulSet, ready": {
			kind("apps/v1", "StatefulSet", first+"spec: {replicas: 2}\nstatus: {observedGeneration: 1, replicas: 2, readyReplicas: 2, currentReplicas: 2, updatedReplicas: 2, currentRevision: a, updateRevision: a}"), ready,
		},
		"StatefulSet, half": {
			kind("apps/v1", "StatefulSet", first+"spec: {replicas: 2}\nstatus: {observedGeneration: 1, replicas: 2, readyReplicas: 1}"), on("Ready: 1/2"),
		},
		"DaemonSet, ready": {
			kind("apps/v1", "DaemonSet", first+"status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2, numberReady: 2}"), ready,
		},
		"DaemonSet, half": {
			kind("apps/v1", "DaemonSet", first+"status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1, numberReady: 1}"), on("Available: 1/2"),
		},
		"ReplicaSet, ready": {
			kind("apps/v1", "ReplicaSet", first+"spec: {replicas: 1}\nstatus: {observedGeneration: 1, replicas: 1, fullyLabeledReplicas: 1, availableReplicas: 1, readyReplicas: 1}"), ready,
		},
		"ReplicaSet, over a quota": {
			kind("apps/v1", "ReplicaSet", first+"spec: {replicas: 1}\nstatus: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: 'True', message: exceeded quota}]}"),
			bad("Replica Failure condition. Check Pods", "ReplicaFailure: exceeded quota"),
		},
		"Job, running":  {kind("batch/v1", "Job", first+"status: {startTime: '2020-01-01T00:00:00Z', active: 1}"), ready},
		"Job, complete": {kind("batch/v1", "Job", first+"status: {startTime: '2020-01-01T00:00:00Z', succeeded: 1, conditions: [{type: Complete, status: 'True'}]}"), ready},
		"Job, new":      {kind("batch/v1", "Job", first), on("Job not started")},
		"Job, failed": {
			kind("batch/v1", "Job", first+"status: {startTime: '2020-01-01T00:00:00Z', failed: 1, conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: Job has reached the limit}]}"),
			bad("Job Failed. failed: 1/1", "Failed: Job has reached the limit"),
		},
		"CronJob": {kind("batch/v1", "CronJob", first), ready},

		"Pod, ready":     {kind("v1", "Pod", first+"status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}"), ready},
		"Pod, done":      {kind("v1", "Pod", first+"status: {phase: Succeeded}"), ready},
		"Pod, brand-new": {kind("v1", "Pod", first), on("the pod is not yet seen by a node")},
		"Pod, starting":  {kind("v1", "Pod", first+"status: {phase: Running, conditions: [{type: Ready, status: 'False'}]}"), on("the pod is Running")},
		"Pod, failed":    {kind("v1", "Pod", first+"status: {phase: Failed, reason: Evicted, message: the node was low on memory}"), bad("the pod has failed", "the node was low on memory")},
		"Pod, nowhere to go": {
			kind("v1", "Pod", first+"status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: 0/3 nodes are available}]}"),
			on("the pod is Pending", "PodScheduled: 0/3 nodes are available"),
		},
		"Pod, without its image": {
			kind("v1", "Pod", first+"status: {phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: ContainerCreating}}}, {name: b, state: {waiting: {reason: ImagePullBackOff, message: no such image}}}]}"),
			bad("container b: ImagePullBackOff: no such image"),
		},
		"Pod, whose init container crashes": {
			kind("v1", "Pod", first+"status: {phase: Pending, initContainerStatuses: [{name: i, state: {waiting: {reason: CrashLoopBackOff}}}]}"),
			bad("container i: CrashLoopBackOff"),
		},
		"PersistentVolumeClaim, bound":   {kind("v1", "PersistentVolumeClaim", first+"status: {phase: Bound}"), ready},
		"PersistentVolumeClaim, pending": {kind("v1", "PersistentVolumeClaim", first+"status: {phase: Pending}"), on("PVC is not Bound. phase: Pending")},
		"Service":                        {kind("v1", "Service", first+"spec: {type: ClusterIP}"), ready},
		"Service, load balancer with an address in the cluster": {kind("v1", "Service", first+"spec: {type: LoadBalancer, clusterIP: 10.0.0.1}"), ready},
		"Service, load balancer without any":                    {kind("v1", "Service", first+"spec: {type: LoadBalancer}"), on("ClusterIP not set. Service type: LoadBalancer")},
		"ConfigMap":                                             {kind("v1", "ConfigMap", first), ready},
		"Namespace":                                             {kind("v1", "Namespace", first+"status: {phase: Active}"), ready},
		"CustomResourceDefinition, established": {
			kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", first+"status: {conditions: [{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}]}"), ready,
		},
		"CustomResourceDefinition, new": {kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", first), on("Install in progress")},
		"CustomResourceDefinition, refused": {
			kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", first+"status: {conditions: [{type: NamesAccepted, status: 'False', reason: ListKindConflict, message: taken}]}"), bad("taken"),
		},
		"APIService, available": {kind("apiregistration.k8s.io/v1", "APIService", first+"status: {conditions: [{type: Available, status: 'True'}]}"), ready},
		"APIService, not":       {kind("apiregistration.k8s.io/v1", "APIService", first+"status: {conditions: [{type: Available, status: 'False', reason: MissingEndpoints, message: no endpoints}]}"), on("Available: no endpoints")},
		"HorizontalPodAutoscaler without metrics": {
			kind("autoscaling/v2", "HorizontalPodAutoscaler", first+"status: {conditions: [{type: ScalingActive, status: 'False'}, {type: AbleToScale, status: 'True'}]}"), ready,
		},

		"custom, without a status":   {kind("example.org/v1", "Gadget", first), ready},
		"custom, ready":              {kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Ready, status: 'True'}, {type: Cold, status: 'False'}]}"), ready},
		"custom, not ready":          {kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Ready, status: 'False', message: warming up}]}"), on("warming up")},
		"custom, unknown":            {kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Available, status: Unknown}]}"), on("Available: is Unknown")},
		"custom, not active":         {kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Active, status: 'False', reason: Asleep}]}"), on("Active: Asleep")},
		"custom, reconciling":        {kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Reconciling, status: 'True', message: half way}]}"), on("half way")},
		"custom, stalled":            {kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Stalled, status: 'True', message: no key}]}"), bad("no key")},
		"custom, failed":             {kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Failed, status: 'True', message: broken}, {type: Active, status: 'False'}]}"), bad("Failed: broken")},
		"custom, not seen yet":       {kind("example.org/v1", "Gadget", updated+"status: {observedGeneration: 1, conditions: [{type: Ready, status: 'True'}]}"), on("Gadget generation is 2, but latest observed generation is 1")},
		"custom, strange status":     {kind("example.org/v1", "Gadget", first+"status: fine"), ready},
		"custom, empty condition":    {kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Ready}]}"), ready},
		"custom, strange condition":  {kind("example.org/v1", "Gadget", first+"status: {conditions: [fine]}"), ready},
		"Deployment, strange status": {kind("apps/v1", "Deployment", first+"status: hidden"), bad("the status is not that of a Deployment")},
	} {
		t.Run(name, func(t *testing.T) {
			got := Of(live(t, test.object), nil)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRemoving(t *testing.T) {
	for _, o := range []string{
		kind("v1", "Pod", "metadata: {name: x, deletionTimestamp: '2020-01-01T00:00:00Z'}\nstatus: {phase: Running, conditions: [{type: Ready, status: 'True'}]}"),
		kind("v1", "Namespace", "metadata: {name: x, deletionTimestamp: '2020-01-01T00:00:00Z'}\nstatus: {phase: Terminating}"),
	} {
		want := fleet.ResourceSummary{State: "removing", Transitioning: true, Message: []string{"the object is being deleted"}}
		if diff := cmp.Diff(want, Of(live(t, o), nil)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestIgnored(t *testing.T) {
	gadget := kind("example.org/v1", "Gadget", first+"status: {conditions: [{type: Active, status: 'False', reason: Asleep}, {type: Warm, status: 'True'}]}")
	for name, test := range map[string]struct {
		ignored []map[string]string
		ready   bool
	}{
		"nothing":               {nil, false},
		"the condition":         {[]map[string]string{{"type": "Active", "status": "False"}}, true},
		"by type alone":         {[]map[string]string{{"type": "Active"}}, true},
		"one of several":        {[]map[string]string{{"type": "Warm"}, {"reason": "Asleep"}}, true},
		"another status":        {[]map[string]string{{"type": "Active", "status": "Unknown"}}, false},
		"a field it has not":    {[]map[string]string{{"type": "Active", "color": "red"}}, false},
		"an empty pattern":      {[]map[string]string{{}}, false},
		"conditions of no harm": {[]map[string]string{{"type": "Warm"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := live(t, gadget)
			before := o.DeepCopy()
			if got := Of(o, test.ignored); IsReady(got) != test.ready {
				t.Errorf("got %+v", got)
			}
			if diff := cmp.Diff(before, o); diff != "" {
				t.Errorf("the object was changed: %s", diff)
			}
		})
	}
	t.Run("counts stay", func(t *testing.T) {
		o := live(t, kind("apps/v1", "Deployment", first+"spec: {replicas: 2}\nstatus: {observedGeneration: 1, replicas: 1, conditions: ["+unavailable+"]}"))
		if got := Of(o, []map[string]string{{"type": "Available"}}); IsReady(got) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestNonReady(t *testing.T) {
	o := live(t, kind("apps/v1", "Deployment", "metadata: {name: web, namespace: shop, uid: u-1}\nspec: {replicas: 2}"))
	want := fleet.NonReadyStatus{
		UID: "u-1", Kind: "Deployment", APIVersion: "apps/v1", Namespace: "shop", Name: "web",
		Summary: fleet.ResourceSummary{State: "updating", Transitioning: true, Message: []string{"Replicas: 0/2"}},
	}
	got, ok := NonReady(o, nil)
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("%v, %s", ok, diff)
	}
	if got, ok := NonReady(live(t, kind("v1", "ConfigMap", first)), nil); ok {
		t.Errorf("a ConfigMap is not ready: %+v", got)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	var conditions []string
	for range 3 {
		conditions = append(conditions, "{type: Active, status: 'False', message: '"+strings.Repeat("é", 5000)+"'}", "{type: Ready, status: Unknown}")
	}
	for _, c := range []string{"Deployed", "Installed", "Initialized", "Provisioned", "Reconciled"} {
		conditions = append(conditions, "{type: "+c+", status: 'False'}")
	}
	got := Of(live(t, kind("example.org/v1", "Gadget", first+"status: {conditions: ["+strings.Join(conditions[:1], ",")+","+strings.Join(conditions[6:], ",")+"]}")), nil)
	if len(got.Message) != maxMessages {
		t.Errorf("got %d messages", len(got.Message))
	}
	for _, message := range got.Message {
		if len(message) > maxMessage+len("…") {
			t.Errorf("a message of %d bytes", len(message))
		}
	}
}

// FuzzOf: a status is what any controller may have written.
func FuzzOf(f *testing.F) {
	f.Add("Pod", "v1", []byte(`{"phase":"Running","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}`))
	f.Add("Deployment", "apps/v1", []byte(`{"conditions":[{"type":"Available","status":"False"}],"replicas":"x"}`))
	f.Add("Gadget", "example.org/v1", []byte(`{"conditions":{"type":1}}`))
	f.Add("Job", "batch/v1", []byte(`{"conditions":[null,1,"x",{"type":"Failed","status":"True"}]}`))
	f.Fuzz(func(t *testing.T, kind, apiVersion string, status []byte) {
		var value any
		if yaml.Unmarshal(status, &value) != nil {
			return
		}
		o := &unstructured.Unstructured{Object: map[string]any{"kind": kind, "apiVersion": apiVersion, "metadata": map[string]any{"name": "x"}, "status": value}}
		got := Of(o, []map[string]string{{"type": "Available"}})
		if got.Error && got.Transitioning || IsReady(got) != (got.State == StateReady) || len(got.Message) > maxMessages {
			t.Fatalf("got %+v", got)
		}
	})
}
