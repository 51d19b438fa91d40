package charts

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

type values = map[string]any

// joining is what `flotilla join` gives.
func joining(more values) values {
	v := values{"apiServerURL": "https://hub.example.com:6443", "token": "a.b.c", "tokenName": "t", "clusterNamespace": "fleet-default"}
	for key, value := range more {
		v[key] = value
	}
	return v
}

// matrix is the values that each chart is looked at with.
func matrix() map[string]map[string]values {
	everything := values{
		"podAnnotations": values{"a": "b"}, "podLabels": values{"c": "d"}, "nodeSelector": values{"disk": "fast"},
		"tolerations": []any{values{"key": "x", "operator": "Exists"}}, "priorityClassName": "system-cluster-critical",
		"extraEnv":         []any{values{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}},
		"imagePullSecrets": []any{values{"name": "pull"}}, "logLevel": "debug",
		"image":    values{"registry": "registry.example.com/x/", "digest": "sha256:" + strings.Repeat("a", 64)},
		"affinity": values{"nodeAffinity": values{}}, "resources": values{"limits": values{"memory": "512Mi"}},
		"networkPolicy": values{"enabled": true, "egressPorts": []any{53, 443}, "metricsFrom": []any{values{"namespaceSelector": values{}}}},
	}
	with := func(more values) values {
		all := values{}
		for _, part := range []values{everything, more} {
			for key, value := range part {
				all[key] = value
			}
		}
		return all
	}
	return map[string]map[string]values{
		Manager: {
			"defaults": nil,
			"everything": with(values{
				"apiServer": values{"url": "https://hub:6443", "caBundle": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"},
				"metrics":   values{"serviceMonitor": values{"enabled": true}, "rules": values{"enabled": true}, "dashboard": values{"enabled": true}},
				"replicas":  3, "debugEndpoints": true, "registration": values{"maxTokenTTL": "24h", "ignoreLabels": true},
				"webhooks": values{
					"unsigned": true, "from": []any{values{"namespaceSelector": values{}}},
					"service": values{"type": "LoadBalancer", "port": 8443, "annotations": values{"a": "b"}},
					"ingress": values{"enabled": true, "className": "nginx", "annotations": values{"c": "d"}, "host": "hooks.example.com", "path": "/git", "tlsSecret": "tls"},
				},
			}),
			"alone": {"replicas": 1, "crds": values{"enabled": false}, "workspaces": []any{}, "networkPolicy": values{"enabled": false},
				"webhooks": values{"enabled": false}, "admissionPolicy": values{"enabled": false}, "resources": values{"limits": values{"memory": nil}}},
		},
		Agent: {
			"defaults":   joining(nil),
			"everything": joining(with(values{"hostNetwork": true, "labels": values{"env": "prod"}, "clientID": "me", "metrics": values{"serviceMonitor": values{"enabled": true}}})),
			"few rights": joining(values{"rbac": values{"rules": []any{}}, "networkPolicy": values{"enabled": false}}),
		},
		CRDs: {"defaults": nil},
	}
}

func TestLint(t *testing.T) {
	for name, cases := range matrix() {
		dir, err := Dir(name)
		if err != nil {
			t.Fatal(err)
		}
		for which, vals := range cases {
			lintChart(t, name+", "+which, dir, vals)
		}
	}
}

func lintChart(t *testing.T, where, dir string, vals values) {
	t.Helper()
	for _, message := range lint.AllWithKubeVersion(dir, vals, names.NamespaceSystem, nil).Messages {
		if message.Severity > support.InfoSev {
			t.Errorf("%s: %s", where, message)
		}
	}
}

// Every pod keeps to the restricted Pod Security Standard, has probes, limits, and what its limits imply.
func TestPodsAreRestricted(t *testing.T) {
	for name, cases := range matrix() {
		for which, vals := range cases {
			for _, deployment := range deploymentsOf(t, name, vals) {
				where := name + ", " + which
				checkPod(t, where, deployment)
			}
		}
	}
}

func checkPod(t *testing.T, where string, deployment *appsv1.Deployment) {
	t.Helper()
	pod := deployment.Spec.Template.Spec
	is := func(b *bool, want bool) bool { return b != nil && *b == want }
	if c := pod.SecurityContext; c == nil || !is(c.RunAsNonRoot, true) || c.SeccompProfile == nil || c.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: the pod's security context is %v", where, c)
	}
	for _, container := range pod.Containers {
		c := container.SecurityContext
		if c == nil || !is(c.AllowPrivilegeEscalation, false) || !is(c.ReadOnlyRootFilesystem, true) || fmt.Sprint(c.Capabilities.Drop) != "[ALL]" {
			t.Errorf("%s: the container's security context is %v", where, c)
		}
		if container.LivenessProbe == nil || container.ReadinessProbe == nil || container.ReadinessProbe.HTTPGet.Path != "/readyz" {
			t.Errorf("%s: probes are missing", where)
		}
		limit, limited := container.Resources.Limits[corev1.ResourceMemory]
		memory := ""
		for _, env := range container.Env {
			if env.Name == "GOMEMLIMIT" {
				memory = env.Value
			}
		}
		want := ""
		if limited {
			want = fmt.Sprintf("%dMiB", limit.Value()*9/10>>20)
		}
		if memory != want {
			t.Errorf("%s: GOMEMLIMIT is %q, want %q", where, memory, want)
		}
		if strings.Contains(container.Image, " ") || !strings.ContainsAny(container.Image, ":@") {
			t.Errorf("%s: image %q", where, container.Image)
		}
	}
}

func deploymentsOf(t *testing.T, name string, vals values) []*appsv1.Deployment {
	t.Helper()
	var deployments []*appsv1.Deployment
	for _, object := range render(t, name, vals).Objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		deployment := &appsv1.Deployment{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, deployment, true); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		deployments = append(deployments, deployment)
	}
	return deployments
}

func render(t *testing.T, name string, vals values) Rendered {
	t.Helper()
	rendered, err := Render(name, vals)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

func TestSchemaRefusesWrongValues(t *testing.T) {
	for name, cases := range map[string]map[string]values{
		Manager: {
			"unknown":            {"replica": 2},
			"unknown below":      {"git": values{"timeout": "1s"}},
			"replicas":           {"replicas": 0},
			"not a number":       {"replicas": "two"},
			"not a duration":     {"contentGrace": "1 day"},
			"not https":          {"apiServer": values{"url": "http://hub"}},
			"not PEM":            {"apiServer": values{"caBundle": "LS0tLS1CRUdJTg=="}},
			"share above all":    {"pruneBrake": values{"percent": 101}},
			"not a level":        {"logLevel": "loud"},
			"not a namespace":    {"workspaces": []any{"Fleet"}},
			"not a digest":       {"image": values{"digest": "sha256:x"}},
			"not a quantity":     {"resources": values{"limits": values{"memory": "much"}}},
			"runbooks elsewhere": {"runbookURL": "runbooks"},
			"ingress for no one": {"webhooks": values{"ingress": values{"enabled": true}}},
			"not a host":         {"webhooks": values{"ingress": values{"enabled": true, "host": "https://hooks.example.com"}}},
			"not a service type": {"webhooks": values{"service": values{"type": "ExternalName"}}},
		},
		Agent: {
			"nothing":       {},
			"no token":      joining(values{"token": ""}),
			"not a token":   joining(values{"token": "abc"}),
			"no workspace":  joining(values{"clusterNamespace": ""}),
			"not https":     joining(values{"apiServerURL": "hub:6443"}),
			"unknown":       joining(values{"cluster": "x"}),
			"label numbers": joining(values{"labels": values{"a": 1}}),
			"long id":       joining(values{"clientID": strings.Repeat("x", 254)}),
		},
	} {
		for which, vals := range cases {
			if _, err := Render(name, vals); err == nil {
				t.Errorf("%s: %s was taken", name, which)
			} else if !strings.Contains(err.Error(), "schema") {
				t.Errorf("%s: %s failed by something else: %v", name, which, err)
			}
		}
	}
}

// Every value is in the schema, so that none can be written wrong without a word.
func TestSchemaKnowsEveryValue(t *testing.T) {
	for _, name := range []string{Manager, Agent} {
		chart, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		var schema values
		if err := json.Unmarshal(chart.Schema, &schema); err != nil {
			t.Fatal(err)
		}
		known, ok := schema["properties"].(values)
		if !ok || schema["additionalProperties"] != false {
			t.Fatalf("%s: the schema is open", name)
		}
		for key := range chart.Values {
			if known[key] == nil {
				t.Errorf("%s: value %s is not in the schema", name, key)
			}
		}
	}
}

// The folder of the chart, alone, packed or not, has everything, the definitions included.
func TestPackedChartIsWhole(t *testing.T) {
	dir, err := Dir(Manager)
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), Manager)
	if err := os.CopyFS(alone, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	lintChart(t, "alone", alone, nil)
	folder, err := loader.LoadDir(alone)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := chartutil.Save(folder, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	packed, err := loader.LoadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	want := kinds(render(t, Manager, nil).Objects)
	if want["CustomResourceDefinition"] == 0 {
		t.Fatal("there are no definitions")
	}
	rendered, err := renderChart(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := kinds(rendered.Objects); !maps.Equal(got, want) {
		t.Errorf("the archive holds %v, want %v", got, want)
	}
}

func kinds(objects []*unstructured.Unstructured) map[string]int {
	count := map[string]int{}
	for _, object := range objects {
		count[object.GetKind()]++
	}
	return count
}

// What the chart installs by default is what the hub then delivers: an agent that joins is not restarted for it, and no value
// is there twice.
func TestChartAndDeliveryAgree(t *testing.T) {
	chart := deploymentsOf(t, Agent, joining(nil))[0]
	objects, err := delivery.ObjectsOf(&fleet.Cluster{}, chart.Spec.Template.Spec.Containers[0].Image, "")
	if err != nil {
		t.Fatal(err)
	}
	delivered := objects.Apply[len(objects.Apply)-1].(*appsv1.Deployment)
	if diff := cmp.Diff(delivered.Spec, chart.Spec); diff != "" {
		t.Errorf("the chart differs from what is delivered (-delivered +chart):\n%s", diff)
	}
}

// What those who install an agent say of how it works is not in its Deployment, which is the hub's.
func TestSettingsOutliveTheDelivery(t *testing.T) {
	vals := joining(values{
		"logLevel": "debug", "concurrency": 4, "requireServiceAccount": true, "imagePullSecrets": []any{values{"name": "pull"}},
		"extraEnv": []any{values{"name": "HTTPS_PROXY", "value": "http://proxy"}, values{"name": "NODE", "valueFrom": values{"fieldRef": values{"fieldPath": "spec.nodeName"}}}},
	})
	objects := render(t, Agent, vals).Objects
	data := fmt.Sprint(find(t, objects, "ConfigMap", names.ConfigMapAgentSettings).Object["data"])
	if data != "map[FLOTILLA_CONCURRENCY:4 FLOTILLA_LOG_LEVEL:debug FLOTILLA_REQUIRE_SERVICE_ACCOUNT:true HTTPS_PROXY:http://proxy]" {
		t.Errorf("settings %s", data)
	}
	if secrets := fmt.Sprint(find(t, objects, "ServiceAccount", names.Agent).Object["imagePullSecrets"]); secrets != "[map[name:pull]]" {
		t.Errorf("pull secrets %s", secrets)
	}
	pod := deploymentsOf(t, Agent, vals)[0].Spec.Template
	if pod.Annotations["checksum/settings"] == "" || !slices.ContainsFunc(pod.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "NODE" }) {
		t.Errorf("the pod is %v", pod)
	}
}

// What the Service of webhooks sends to is a port of the manager that the NetworkPolicy leaves open; without webhooks none is.
func TestWebhooksReachTheManager(t *testing.T) {
	objects := render(t, Manager, values{"webhooks": values{"ingress": values{"enabled": true, "host": "hooks.example.com"}}}).Objects
	service, ingress := find(t, objects, "Service", "flotilla-webhooks"), find(t, objects, "Ingress", "flotilla-webhooks")
	port := service.Object["spec"].(values)["ports"].([]any)[0].(values)
	if policy := fmt.Sprint(find(t, objects, "NetworkPolicy", "flotilla-manager").Object); !strings.Contains(policy, "port:"+fmt.Sprint(port["targetPort"])) {
		t.Errorf("%v is not open in %s", port["targetPort"], policy)
	}
	if backend := fmt.Sprintf("service:map[name:%s port:map[name:%s]]", service.GetName(), port["name"]); !strings.Contains(fmt.Sprint(ingress.Object), backend) {
		t.Errorf("the Ingress has no %s: %v", backend, ingress.Object)
	}
	container := func(vals values) corev1.Container {
		return deploymentsOf(t, Manager, vals)[0].Spec.Template.Spec.Containers[0]
	}
	on, off := container(nil), container(values{"webhooks": values{"enabled": false}})
	if !slices.ContainsFunc(on.Ports, func(p corev1.ContainerPort) bool { return p.Name == port["targetPort"] && p.ContainerPort == 8081 }) {
		t.Errorf("ports %v", on.Ports)
	}
	if !slices.Contains(on.Args, "--webhook-address=:8081") || !slices.Contains(off.Args, "--webhook-address=") || len(off.Ports) != 1 {
		t.Errorf("with webhooks %v, without %v %v", on.Args, off.Args, off.Ports)
	}
}

// Uninstalling takes away neither definitions nor workspaces: with them would go Clusters, and with those the access of agents.
func TestUninstallKeepsWhatMatters(t *testing.T) {
	for _, object := range render(t, Manager, nil).Objects {
		switch object.GetKind() {
		case "CustomResourceDefinition", "Namespace":
			if object.GetAnnotations()[names.AnnotationResourcePolicy] != names.ResourcePolicyKeep {
				t.Errorf("%s %s would be uninstalled", object.GetKind(), object.GetName())
			}
		}
	}
}

// Every alert has a runbook of its name, every runbook an alert, and asks for metrics that are documented.
func TestAlertsHaveRunbooks(t *testing.T) {
	objects := render(t, Manager, values{"metrics": values{"rules": values{"enabled": true}}}).Objects
	rules := find(t, objects, "PrometheusRule", "flotilla-manager")
	groups, _, err := unstructured.NestedSlice(rules.Object, "spec", "groups")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := Dir(Manager)
	if err != nil {
		t.Fatal(err)
	}
	docs := filepath.Join(dir, "..", "..", "docs")
	metrics, err := os.ReadFile(filepath.Join(docs, "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{}
	for _, rule := range groups[0].(values)["rules"].([]any) {
		alert := rule.(values)
		url := fmt.Sprint(alert["annotations"].(values)["runbook_url"])
		linked[filepath.Base(url)] = true
		text, err := os.ReadFile(filepath.Join(docs, "runbooks", filepath.Base(url)))
		if err != nil || !strings.HasPrefix(string(text), "# "+fmt.Sprint(alert["alert"])+"\n") {
			t.Errorf("%s has no runbook: %v", alert["alert"], err)
		}
		for _, metric := range metricsIn(fmt.Sprint(alert["expr"])) {
			if !strings.Contains(string(metrics), metric) {
				t.Errorf("%s: %s is not in docs/metrics.md", alert["alert"], metric)
			}
		}
	}
	found, err := os.ReadDir(filepath.Join(docs, "runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		if !linked[file.Name()] {
			t.Errorf("no alert leads to the runbook %s", file.Name())
		}
	}
}

func metricsIn(expression string) []string {
	var metrics []string
	for _, word := range strings.FieldsFunc(expression, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z')
	}) {
		if strings.HasPrefix(word, "flotilla_") {
			metrics = append(metrics, strings.TrimSuffix(strings.TrimSuffix(word, "_bucket"), "_count"))
		}
	}
	return metrics
}

func TestNotesNameTheNextStep(t *testing.T) {
	notes := render(t, Manager, nil).Notes
	for _, want := range []string{"rollout status deployment/flotilla-manager", "flotilla join --namespace fleet-default", "apiServer.url is not set"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q:\n%s", want, notes)
		}
	}
	if notes := render(t, Manager, values{"apiServer": values{"url": "https://hub:6443"}}).Notes; strings.Contains(notes, "is not set") {
		t.Errorf("the notes miss what is there:\n%s", notes)
	}
	if notes := render(t, Agent, joining(nil)).Notes; !strings.Contains(notes, "logs deployment/fleet-agent") {
		t.Errorf("the notes are %s", notes)
	}
}

// The dashboard is JSON, and asks for documented metrics.
func TestDashboard(t *testing.T) {
	objects := render(t, Manager, values{"metrics": values{"dashboard": values{"enabled": true}}}).Objects
	text, _, _ := unstructured.NestedString(find(t, objects, "ConfigMap", "flotilla-manager-dashboard").Object, "data", "flotilla.json")
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil || len(dashboard.Panels) == 0 {
		t.Fatalf("no dashboard: %v", err)
	}
}

// The manager's role has no way to more than it holds.
func TestManagerCannotRaiseItself(t *testing.T) {
	for _, object := range render(t, Manager, nil).Objects {
		if object.GetKind() != "ClusterRole" && object.GetKind() != "Role" {
			continue
		}
		rules, _, err := unstructured.NestedSlice(object.Object, "rules")
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules {
			text := fmt.Sprint(rule)
			for _, verb := range []string{"*", "bind", "escalate", "impersonate", "approve", "sign"} {
				if strings.Contains(strings.NewReplacer("[", " ", "]", " ").Replace(text)+" ", " "+verb+" ") {
					t.Errorf("%s: %s", object.GetName(), text)
				}
			}
		}
	}
}
