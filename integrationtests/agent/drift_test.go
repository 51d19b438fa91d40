package agent

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// richYAML has what API servers fill in, normalise and take apart.
const richYAML = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gauges.drift.example.com}
spec:
  group: drift.example.com
  names: {kind: Gauge, plural: gauges, singular: gauge, listKind: GaugeList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer}, unit: {type: string, default: metre}, ratio: {type: number}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}, annotations: {}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, creationTimestamp: null}
    spec:
      containers:
      - name: web
        image: "example.com/web:1"
        ports: [{containerPort: 80, name: http}, {containerPort: 81}]
        env: [{name: A, value: "1"}, {name: EMPTY, value: ""}]
        resources: {limits: {cpu: 1000m, memory: 1024Mi}, requests: {cpu: 0.5, memory: 0.5Gi}}
        livenessProbe: {httpGet: {path: /, port: http}}
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, emptyDir: {sizeLimit: 1024Mi}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 0
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: "example.com/db:1", args: [], command: ["run"]}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}, {name: other, port: 81, nodePort: 0}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {a: b}}}], ports: [{port: 80}]}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 1
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 0.5}}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: "example.com/job:1"}]}}}}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {user: me, password: a-planted-password}
data: {more: eA==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {text: "a\nb\n", empty: ""}
binaryData: {raw: eA==}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: web}
subjects: [{kind: ServiceAccount, name: web}]
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 0.5Gi}}}
`

const gaugeYAML = `
apiVersion: drift.example.com/v1
kind: Gauge
metadata: {name: one}
spec: {size: 3, ratio: 1.0}
`

func TestWhatAPIServersMakeOfAManifestIsNoDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	kinds := w.deploy("kinds", manifest(map[string]string{"rich.yaml": richYAML}))
	bd := env.BundleDeployments.Await(t, kinds, settledButFor("PersistentVolumeClaim"))
	if len(bd.Status.ModifiedStatus) > 0 || !bd.Status.NonModified {
		t.Errorf("it is modified: %+v", bd.Status.ModifiedStatus)
	}
	w.assertUnmodified(w.deploy("gauge", manifest(map[string]string{"gauge.yaml": gaugeYAML})))
	for _, asked := range w.line.dryRuns() {
		t.Logf("asked: %s", asked)
	}
	// What was found to mean the same is not asked again when a status changes.
	before := len(w.line.dryRuns())
	w.somebody().patch(deployments, "web", `{"metadata":{"annotations":{"somebody":"was here"}}}`)
	w.assertUnmodified(w.deploy("other", manifest(map[string]string{"a.yaml": configMapYAML("other", "1")})))
	if asked := w.line.dryRuns()[before:]; len(asked) > 0 {
		t.Errorf("a change of somebody else's field made the agent ask %q", asked)
	}
	w.restart()
	env.BundleDeployments.Await(t, kinds, settledButFor("PersistentVolumeClaim"))
	w.assertUnmodified(w.deploy("last", manifest(map[string]string{"a.yaml": configMapYAML("last", "1")})))
}

// settledButFor accepts a deployment all of whose objects are ready but for
// those of a kind that nobody looks after here.
func settledButFor(kind string) func(*fleet.BundleDeployment) error {
	return func(bd *fleet.BundleDeployment) error {
		if bd.Status.AppliedDeploymentID != bd.Spec.DeploymentID {
			return fmt.Errorf("it is not deployed: %s", bd.Status.Display.Deployed)
		}
		for _, n := range bd.Status.NonReadyStatus {
			if n.Kind != kind {
				return fmt.Errorf("%s %s is not ready: %v", n.Kind, n.Name, n.Summary.Message)
			}
		}
		return nil
	}
}

func TestChangedFieldIsDriftAndAForeignOneIsNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1"), "d.yaml": deploymentYAML}))
	w.awaitReady(key)
	s := w.somebody()

	s.patch(configMaps, "a", `{"data":{"key":"2"}}`)
	bd := w.awaitModified(key, `configmap.v1 `+w.target+`/a modified {"data":{"key":"1"}}`)
	want := fleet.ModifiedStatus{Kind: "ConfigMap", APIVersion: "v1", Namespace: w.target, Name: "a", Patch: `{"data":{"key":"1"}}`}
	if got := bd.Status.ModifiedStatus; len(got) != 1 || got[0] != want {
		t.Errorf("modified is %+v", got)
	}
	if got := bd.Status.ResourceCounts; got != (fleet.ResourceCounts{Ready: 1, Modified: 1, DesiredReady: 2}) {
		t.Errorf("counts are %+v", got)
	}
	s.patch(configMaps, "a", `{"data":{"key":"1"}}`)
	w.assertUnmodified(key)

	s.patch(configMaps, "a", `{"data":{"key":null}}`)
	w.awaitModified(key, `{"data":{"key":"1"}}`)
	s.patch(configMaps, "a", `{"data":{"key":"1","foreign":"x"},"metadata":{"labels":{"foreign":"x"}}}`)
	w.assertUnmodified(key)

	s.patch(deployments, "web", `{"spec":{"replicas":1}}`, "scale")
	w.awaitModified(key, `deployment.apps `+w.target+`/web modified {"spec":{"replicas":2}}`)
}

func TestComparePatchesSayWhatIsNoDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	files := map[string]string{"d.yaml": deploymentYAML, "a.yaml": configMapYAML("tmp-a", "1")}
	key := w.deploy("app", manifest(files))
	before := w.awaitReady(key)
	s := w.somebody()
	s.as = "autoscaler"
	s.patch(deployments, "web", `{"spec":{"replicas":3}}`)
	w.awaitModified(key, `{"spec":{"replicas":2}}`)
	// A change of diff deploys nothing, but holds at once.
	w.change(key, manifest(files).with(comparing(t, `{"apiVersion":"apps/v1","kind":"Deployment","namespace":"`+w.target+`","name":"web","operations":[{"op":"remove","path":"/spec/replicas"}]}`)))
	if bd := w.awaitReady(key); bd.Status.Release != before.Status.Release {
		t.Errorf("release is %s, was %s", bd.Status.Release, before.Status.Release)
	}
	asked := len(w.line.dryRuns())
	s.patch(deployments, "web", `{"spec":{"replicas":1}}`)
	w.assertUnmodified(key)
	if more := w.line.dryRuns()[asked:]; len(more) > 0 {
		t.Errorf("a change of an ignored field made the agent ask %q", more)
	}
	s.patch(configMaps, "tmp-a", `{"data":{"key":"2"}}`)
	w.awaitModified(key, "tmp-a modified")
	w.change(key, manifest(files).with(comparing(t, `{"apiVersion":"v1","kind":"ConfigMap","namespace":"`+w.target+`","name":"^tmp-","operations":[{"op":"ignore"}]}`)))
	w.awaitModified(key, "deployment.apps")
	s.patch(deployments, "web", `{"spec":{"replicas":2}}`)
	w.assertUnmodified(key)
	w.change(key, manifest(files).with(comparing(t, `{"apiVersion":"v1","kind":"ConfigMap","namespace":"`+w.target+`","name":"(","operations":[{"op":"ignore"}]}`)))
	env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionMonitored, Status: metav1.ConditionFalse, Reason: "BadComparePatch", Message: "diff.comparePatches[0]",
	})
}

func TestSecretsAreHiddenInDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: the-planted-one}\n"}))
	w.awaitReady(key)
	w.somebody().patch(secrets, "s", `{"stringData":{"password":"the-stolen-one"}}`)
	bd := w.awaitModified(key, `secret.v1 `+w.target+`/s modified {"data":{"password":"<hidden>"}}`)
	text := bd.Status.Display.Monitored
	for _, c := range bd.Status.Conditions {
		text += c.Message
	}
	for _, m := range bd.Status.ModifiedStatus {
		text += m.Patch
	}
	for _, value := range []string{"the-", "dGhl"} {
		if strings.Contains(text, value) {
			t.Errorf("the status tells what is in the Secret: %s", text)
		}
	}
}

func TestObjectThatNobodyAsksForIsExtra(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1"), "s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {app: s}, ports: [{port: 80}]}\n"}).with(correcting))
	w.awaitReady(key)
	set := release.ObjectSet("app", w.agent)
	extra := configMapWith(w.target, "extra")
	extra.Labels = map[string]string{names.LabelObjectSetHash: names.ObjectSetHash(set)}
	owned := extra.DeepCopy()
	owned.Name, owned.Annotations = "owned", map[string]string{names.AnnotationObjectSetID: set}
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "a", UID: w.configMap("a").UID}}
	unmarked := extra.DeepCopy()
	unmarked.Name = "unmarked"
	w.make(owned)
	w.make(unmarked)
	w.assertUnmodified(key)
	extra.Annotations = owned.Annotations
	w.make(extra)
	bd := w.awaitModified(key, `configmap.v1 `+w.target+`/extra extra`)
	if got := bd.Status.ResourceCounts; got != (fleet.ResourceCounts{Ready: 2, Orphaned: 1, DesiredReady: 2}) {
		t.Errorf("counts are %+v", got)
	}
	if got := bd.Status.ModifiedStatus; len(got) != 1 || !got[0].Delete || len(bd.Status.Resources) != 2 {
		t.Errorf("modified is %+v, resources are %+v", got, bd.Status.Resources)
	}
	w.awaitAgentPast("later")
	if w.configMap("extra") == nil {
		t.Error("the extra object was deleted")
	}
	w.somebody().remove(configMaps, "extra")
	w.assertUnmodified(key)
	if bd := w.awaitReady(key); strings.Contains(bd.Status.Release, ":2") {
		t.Errorf("release is %s", bd.Status.Release)
	}
}

// An upgrade that gives an object up does not make it an extra one for a while.
func TestObjectsThatAnUpgradeDropsAreNeverExtra(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1"), "b.yaml": configMapYAML("b", "1")}))
	w.awaitReady(key)
	seen := w.follow(key)
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "2")}))
	w.awaitReady(key)
	w.assertUnmodified(key)
	for _, state := range seen() {
		if state == string(fleet.Modified) {
			t.Errorf("on the way it was %v", seen())
		}
	}
}

func TestAccountThatMayNotPatchSaysSoAndDriftIsStillReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	as := func(bd *fleet.BundleDeployment) {
		bd.Spec.Options.ServiceAccount = "reader"
		correcting(bd)
	}
	w.allow("reader", w.target)
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(as))
	w.awaitReady(key)
	roles := env.Kubernetes.RbacV1().Roles(w.target)
	role, err := roles.Get(t.Context(), "reader", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role.Rules[0].Verbs = []string{"get", "list"}
	if _, err := roles.Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.awaitForbidden("reader", "patch")
	w.somebody().patch(configMaps, "a", `{"data":{"key":"2"}}`)
	bd := w.awaitModified(key, `{"data":{"key":"1"}} (not corrected`)
	w.awaitModified(key, "allow the service account of the deployment")
	if w.configMap("a").Data["key"] != "2" {
		t.Errorf("it was corrected all the same: %+v", bd.Status)
	}
	role.ResourceVersion, role.Rules[0].Verbs = "", []string{"*"}
	if _, err := roles.Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.somebody().awaitValue(configMaps, "a", "data.key", `"1"`)
	w.awaitReady(key)
}
