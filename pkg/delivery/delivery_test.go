package delivery

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func joined(edits ...func(*fleet.Cluster)) *fleet.Cluster {
	c := &fleet.Cluster{}
	c.Namespace, c.Name = "fleet-default", "c1"
	c.Status.Agent.Managed, c.Status.Agent.Namespace = true, "agents"
	for _, edit := range edits {
		edit(c)
	}
	return c
}

func deploymentOf(t *testing.T, c *fleet.Cluster) *appsv1.Deployment {
	t.Helper()
	o, err := ObjectsOf(c, "agent:v1", "")
	if err != nil {
		t.Fatal(err)
	}
	return o.Apply[len(o.Apply)-1].(*appsv1.Deployment)
}

func TestWanted(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*fleet.Cluster)
		want bool
	}{
		"an agent that joined":           {func(*fleet.Cluster) {}, true},
		"one that was installed by hand": {func(c *fleet.Cluster) { c.Status.Agent.Managed = false }, false},
		"an imported cluster":            {func(c *fleet.Cluster) { c.Spec.KubeConfigSecret = "kubeconfig" }, false},
		"a label that says no":           {func(c *fleet.Cluster) { c.Labels = map[string]string{names.LabelNonManagedAgent: "true"} }, false},
	} {
		if got := Wanted(joined(tt.edit)); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNext(t *testing.T) {
	ours := func(edits ...func(*fleet.BundleDeployment)) *fleet.BundleDeployment {
		bd := Deployment(joined(), nil, "id", Options("agents"))
		for _, edit := range edits {
			edit(bd)
		}
		return bd
	}
	leaving := func(bd *fleet.BundleDeployment) { bd.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }
	bundles := func(bd *fleet.BundleDeployment) { bd.Labels[names.LabelBundleName] = "stolen" }
	unmanaged := joined(func(c *fleet.Cluster) { c.Status.Agent.Managed = false })
	for name, tt := range map[string]struct {
		cluster  *fleet.Cluster
		existing *fleet.BundleDeployment
		want     Step
	}{
		"there is none yet":                {joined(), nil, Keep},
		"it is there":                      {joined(), ours(), Keep},
		"it was paused":                    {joined(), Held(ours()), Keep},
		"it goes":                          {joined(), ours(leaving), Leave},
		"it is a bundle's":                 {joined(), ours(bundles), Refuse},
		"it is a bundle's and goes":        {joined(), ours(bundles, leaving), Refuse},
		"none is wanted, and none there":   {unmanaged, nil, Leave},
		"none is wanted any more":          {unmanaged, ours(), Hold},
		"none is wanted, and it is paused": {unmanaged, Held(ours()), Leave},
		"none is wanted, a bundle has one": {unmanaged, ours(bundles), Leave},
	} {
		if got := Next(tt.cluster, tt.existing); got != tt.want {
			t.Errorf("%s: step %d, want %d", name, got, tt.want)
		}
	}
}

func TestAsWanted(t *testing.T) {
	want := Deployment(joined(), nil, "id", Options("agents"))
	if AsWanted(nil, want) || !AsWanted(want.DeepCopy(), want) {
		t.Error("what is missing is as wanted, or what is as wanted is not")
	}
	for name, edit := range map[string]func(*fleet.BundleDeployment){
		"spec":       func(bd *fleet.BundleDeployment) { bd.Spec.DeploymentID = "other" },
		"labels":     func(bd *fleet.BundleDeployment) { bd.Labels["x"] = "y" },
		"finalizers": func(bd *fleet.BundleDeployment) { bd.Finalizers = nil },
	} {
		is := want.DeepCopy()
		edit(is)
		if AsWanted(is, want) {
			t.Errorf("with other %s it is as wanted", name)
		}
	}
}

// An agent stays where it was installed: what would have it move is said, not tried.
func TestPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		at, asked, want, says string
	}{
		"where it is":      {"agents", "", "agents", ""},
		"where asked":      {"agents", "agents", "agents", ""},
		"elsewhere":        {"agents", "others", "", "install the chart flotilla-agent in others"},
		"nowhere":          {"", "", "", "does not say"},
		"no namespace":     {"../x", "", "", "does not say"},
		"not even a label": {"A", "A", "", "does not say"},
	} {
		got, err := Place(joined(func(c *fleet.Cluster) { c.Status.Agent.Namespace, c.Spec.AgentNamespace = tt.at, tt.asked }))
		var invalid *InvalidError
		if got != tt.want || (err != nil) != (tt.says != "") || err != nil && (!errors.As(err, &invalid) || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// Only the manager can make a deployment that the agent takes for its own: what becomes of bundles has their label, and
// labels of bundles are users'.
func TestABundleCannotPassForTheAgent(t *testing.T) {
	bd := Deployment(joined(), nil, "s-1:2", Options("agents"))
	if !Is(bd) {
		t.Fatalf("not the agent's: %v", bd.Labels)
	}
	bd.Labels[names.LabelBundleName] = "mine"
	if Is(bd) {
		t.Error("a bundle passes for the agent")
	}
}

func TestDeployment(t *testing.T) {
	options := Options("agents")
	bd := Deployment(joined(), nil, "s-1:2", options)
	if bd.Namespace != names.ClusterNamespace("fleet-default", "c1") || bd.Name != "fleet-agent-c1" || len(bd.Finalizers) != 1 {
		t.Errorf("%v", bd.ObjectMeta)
	}
	if !*bd.Spec.Options.KeepResources || !bd.Spec.CorrectDrift.Enabled || bd.Spec.DeploymentID != "s-1:2" {
		t.Errorf("%v", bd.Spec)
	}
	paused := Deployment(joined(func(c *fleet.Cluster) { c.Spec.Paused = true }), bd, "s-2:3", options)
	if !paused.Spec.Paused || paused.Spec.StagedDeploymentID != "s-2:3" || paused.Spec.DeploymentID != "s-1:2" || len(paused.Finalizers) != 1 {
		t.Errorf("paused: %v", paused.Spec)
	}
	if held := Held(bd); !held.Spec.Paused || held.Spec.DeploymentID != bd.Spec.DeploymentID {
		t.Errorf("held: %v", held.Spec)
	}
}

// Clusters of the same settings get the same bytes, wherever their agents run; each setting makes a difference.
func TestResources(t *testing.T) {
	resourcesOf := func(edits ...func(*fleet.Cluster)) string {
		o, err := ObjectsOf(joined(edits...), "agent:v1", "")
		if err != nil {
			t.Fatal(err)
		}
		list, err := Resources(o)
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, r := range list {
			all.WriteString(r.Name + "\n" + r.Content)
		}
		return all.String()
	}
	plain := resourcesOf()
	if other := resourcesOf(func(c *fleet.Cluster) { c.Name, c.Status.Agent.Namespace = "c2", "elsewhere" }); other != plain {
		t.Errorf("another cluster gets something else:\n%s", cmp.Diff(plain, other))
	}
	if strings.Contains(plain, "status:") || strings.Contains(plain, "namespace: ") {
		t.Errorf("there is what does not belong there:\n%s", plain)
	}
	yes := true
	for name, edit := range map[string]func(*fleet.Cluster){
		"redeployAgentGeneration": func(c *fleet.Cluster) { c.Spec.RedeployAgentGeneration = 1 },
		"agentEnvVars":            func(c *fleet.Cluster) { c.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "A", Value: "b"}} },
		"privateRepoURL":          func(c *fleet.Cluster) { c.Spec.PrivateRepoURL = "registry" },
		"hostNetwork":             func(c *fleet.Cluster) { c.Spec.HostNetwork = &yes },
		"agentTolerations":        func(c *fleet.Cluster) { c.Spec.AgentTolerations = []corev1.Toleration{{Key: "edge"}} },
		"agentAffinity":           func(c *fleet.Cluster) { c.Spec.AgentAffinity = &corev1.Affinity{} },
		"agentResources":          func(c *fleet.Cluster) { c.Spec.AgentResources = &corev1.ResourceRequirements{} },
		"agentPullSecrets":        func(c *fleet.Cluster) { c.Spec.AgentPullSecrets = &[]corev1.LocalObjectReference{{Name: "pull"}} },
		"priorityClass": func(c *fleet.Cluster) {
			c.Spec.AgentSchedulingCustomization = &fleet.AgentSchedulingCustomization{PriorityClass: &fleet.PriorityClassSpec{Value: 7}}
		},
		"podDisruptionBudget": func(c *fleet.Cluster) {
			c.Spec.AgentSchedulingCustomization = &fleet.AgentSchedulingCustomization{PodDisruptionBudget: &fleet.PodDisruptionBudgetSpec{MinAvailable: "1"}}
		},
	} {
		if resourcesOf(edit) == plain {
			t.Errorf("%s makes no difference", name)
		}
	}
}

func TestResourcesAreManifests(t *testing.T) {
	o, err := ObjectsOf(joined(), "agent:v1", "")
	if err != nil {
		t.Fatal(err)
	}
	list, err := Resources(o)
	if err != nil {
		t.Fatal(err)
	}
	var got appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(list[len(list)-1].Content), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(deploymentOf(t, joined()), &got); diff != "" {
		t.Errorf("the Deployment (-want +got):\n%s", diff)
	}
}

// What the cluster says of a variable that the agent is told anyway, counts.
func TestEnvironmentNamesEachVariableOnce(t *testing.T) {
	env := deploymentOf(t, joined(func(c *fleet.Cluster) {
		c.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "GOMEMLIMIT", Value: "1GiB"}}
	})).Spec.Template.Spec.Containers[0].Env
	values := map[string]string{}
	for _, variable := range env {
		if _, twice := values[variable.Name]; twice {
			t.Errorf("%s is there twice", variable.Name)
		}
		values[variable.Name] = variable.Value
	}
	if values["GOMEMLIMIT"] != "1GiB" || values["FLOTILLA_LEADER_ELECT"] != "true" {
		t.Errorf("%v", values)
	}
}

func TestComesBack(t *testing.T) {
	agent := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{names.LabelAgentOf: "true"}}}
	for _, tt := range []struct {
		of   *fleet.BundleDeployment
		kind string
		want bool
	}{
		{agent, "Deployment", false},
		{agent, "PodDisruptionBudget", true},
		{&fleet.BundleDeployment{}, "Deployment", true},
	} {
		if got := ComesBack(tt.of, tt.kind); got != tt.want {
			t.Errorf("ComesBack(%v, %s) = %v", tt.of.Labels, tt.kind, got)
		}
	}
}
