package targets

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

type ctx = context.Context

func TestEveryFormOfTarget(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", map[string]string{"env": "dev", "management.cattle.io/cluster-display-name": "first"})
	cluster(t, ws, "two", map[string]string{"env": "prod"})
	cluster(t, ws, "three", map[string]string{"env": "prod"})
	group := func(name string, selector, labels map[string]string) {
		env.ClusterGroups.Make(t, &fleet.ClusterGroup{
			ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: name, Labels: labels},
			Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{MatchLabels: selector}},
		})
	}
	group("production", map[string]string{"env": "prod"}, map[string]string{"tier": "gold"})
	group("development", map[string]string{"env": "dev"}, map[string]string{"tier": "silver"})

	tests := []struct {
		name    string
		targets []fleet.BundleTarget
		want    []string
	}{
		{"all", []fleet.BundleTarget{everywhere()}, []string{"one", "two", "three"}},
		{"selector", []fleet.BundleTarget{inEnv("prod")}, []string{"two", "three"}},
		{"name", []fleet.BundleTarget{{ClusterName: "two"}}, []string{"two"}},
		{"display-name", []fleet.BundleTarget{{ClusterName: "first"}}, []string{"one"}},
		{"group", []fleet.BundleTarget{inGroup("production")}, []string{"two", "three"}},
		{"group-selector", []fleet.BundleTarget{{ClusterGroupSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "silver"}}}}, []string{"one"}},
		{"criteria-are-anded", []fleet.BundleTarget{{ClusterName: "one", ClusterGroup: "production"}}, nil},
		{"targets-are-ored", []fleet.BundleTarget{{ClusterName: "one"}, {ClusterName: "two"}}, []string{"one", "two"}},
		{"no-criterion-matches-nothing", []fleet.BundleTarget{{Name: "nothing"}}, nil},
		{"do-not-deploy-first", []fleet.BundleTarget{{ClusterName: "two", DoNotDeploy: true}, everywhere()}, []string{"one", "three"}},
		{"do-not-deploy-after-a-match", []fleet.BundleTarget{everywhere(), {ClusterName: "two", DoNotDeploy: true}}, []string{"one", "two", "three"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			awaitOn(t, bundle(t, ws, tt.name, targets(tt.targets...)), tt.want...)
		})
	}
}

func TestRestrictionsAreAnAllowList(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", map[string]string{"env": "dev"})
	cluster(t, ws, "two", map[string]string{"env": "prod"})
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		b.Spec.TargetRestrictions = []fleet.BundleTargetRestriction{{ClusterName: "two"}}
	})
	awaitOn(t, b, "two")
}

func TestTargetEditsMoveDeployments(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", map[string]string{"env": "dev"})
	cluster(t, ws, "two", map[string]string{"env": "prod"})
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one", "two")
	env.Bundles.Edit(t, b, targets(inEnv("prod")))
	awaitOn(t, b, "two")
	env.Bundles.Edit(t, b, targets(inEnv("dev")))
	awaitOn(t, b, "one")
	env.Bundles.Edit(t, b, targets(everywhere()))
	awaitOn(t, b, "one", "two")
}

func TestClusterLabelEditsMoveDeployments(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", map[string]string{"env": "dev"})
	b := bundle(t, ws, "web", targets(inEnv("prod")))
	awaitOn(t, b)
	env.Clusters.Edit(t, one, func(c *fleet.Cluster) { c.Labels["env"] = "prod" })
	awaitOn(t, b, "one")
	env.Clusters.Edit(t, one, func(c *fleet.Cluster) { c.Labels["env"] = "dev" })
	awaitOn(t, b)
}

func TestClusterGroupEditsMoveDeployments(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", map[string]string{"env": "dev"})
	cluster(t, ws, "two", map[string]string{"env": "prod"})
	group := env.ClusterGroups.Make(t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "group"},
		Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{}},
	})
	b := bundle(t, ws, "web", targets(inGroup("group")))
	awaitOn(t, b, "one", "two")
	env.ClusterGroups.Edit(t, harness.KeyOf(group), func(g *fleet.ClusterGroup) {
		g.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	})
	awaitOn(t, b, "two")
}

func TestMappingOpensAnotherNamespace(t *testing.T) {
	t.Parallel()
	ws, other := env.Workspace(t), env.Workspace(t)
	cluster(t, ws, "own", nil)
	cluster(t, other, "foreign", nil)
	b := bundle(t, ws, "web", func(b *fleet.Bundle) { b.Labels = map[string]string{"share": "yes"} })
	awaitOn(t, b, "own")
	mapping := env.BundleNamespaceMappings.Make(t, &fleet.BundleNamespaceMapping{
		ObjectMeta:        metav1.ObjectMeta{Namespace: ws, Name: "share"},
		BundleSelector:    &metav1.LabelSelector{MatchLabels: map[string]string{"share": "yes"}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": other}},
	})
	awaitOn(t, b, "foreign", "own")
	env.BundleNamespaceMappings.Remove(t, harness.KeyOf(mapping))
	awaitOn(t, b, "own")
}

func TestCustomizationsAndTemplatesPerCluster(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", map[string]string{"env": "dev"})
	two := cluster(t, ws, "two", map[string]string{"env": "prod"})
	const secret = "hunter2-canary"
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		b.Spec.DefaultNamespace = "web"
		b.Spec.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{
			"where": "${ .ClusterName }", "password": secret,
		}}}
		custom := inEnv("prod")
		custom.DefaultNamespace = "web-prod"
		b.Spec.Targets = []fleet.BundleTarget{custom, everywhere()}
	})
	awaitOn(t, b, "one", "two")
	for key, namespace := range map[kube.Key]string{one: "web", two: "web-prod"} {
		bd, err := env.BundleDeployments.Get(t.Context(), deployment(b, key).Namespace, b.Name)
		if err != nil {
			t.Fatal(err)
		}
		if bd.Spec.Options.DefaultNamespace != namespace {
			t.Errorf("on %s the namespace is %q, want %q", key.Name, bd.Spec.Options.DefaultNamespace, namespace)
		}
		if text := fmt.Sprintf("%+v", bd); strings.Contains(text, secret) {
			t.Errorf("the deployment on %s shows a value", key.Name)
		}
		values, err := env.Secrets.Get(t.Context(), bd.Namespace, bd.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(values.Data["values"]); !strings.Contains(got, `"where":"`+key.Name+`"`) || !strings.Contains(got, secret) {
			t.Errorf("the values on %s are %s", key.Name, got)
		}
	}
}

func TestTemplateErrorStaysWithItsCluster(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "good", map[string]string{"region": "eu"})
	bad := cluster(t, ws, "bad", nil)
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		b.Spec.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"region": "${ .ClusterLabels.region }"}}}
	})
	harness.Eventually(t, "the good cluster is served", func(ctx) error {
		if on := deployedOn(t, b); len(on) != 1 || on[0] != "good" {
			return fmt.Errorf("deployed on %q", on)
		}
		return nil
	})
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionReady, Status: "False", Message: bad.Name})
	env.Clusters.Edit(t, bad, func(c *fleet.Cluster) { c.Labels = map[string]string{"region": "us"} })
	awaitOn(t, b, "bad", "good")
}

func TestPausedBundleStagesOnly(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, "one")
	before, err := env.BundleDeployments.Get(t.Context(), deployment(b, one).Namespace, b.Name)
	if err != nil {
		t.Fatal(err)
	}
	env.Bundles.Edit(t, b, func(b *fleet.Bundle) {
		b.Spec.Paused = true
		b.Spec.DefaultNamespace = "elsewhere"
	})
	env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error {
		if bd.Spec.StagedDeploymentID == before.Spec.StagedDeploymentID {
			return fmt.Errorf("nothing new is staged")
		}
		if bd.Spec.DeploymentID != before.Spec.DeploymentID {
			t.Fatalf("a paused bundle moved the current ID to %s", bd.Spec.DeploymentID)
		}
		return nil
	})
	env.Bundles.Edit(t, b, func(b *fleet.Bundle) { b.Spec.Paused = false })
	env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error {
		if bd.Spec.DeploymentID != bd.Spec.StagedDeploymentID {
			return fmt.Errorf("current is %s, staged is %s", bd.Spec.DeploymentID, bd.Spec.StagedDeploymentID)
		}
		return nil
	})
}

func TestTwoWorkspacesCannotShareAName(t *testing.T) {
	t.Parallel()
	ws, other := env.Workspace(t), env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	own := bundle(t, ws, "web", nil)
	awaitOn(t, own, "one")
	intruder := bundle(t, other, "web", nil)
	env.BundleNamespaceMappings.Make(t, &fleet.BundleNamespaceMapping{
		ObjectMeta:        metav1.ObjectMeta{Namespace: other, Name: "reach"},
		BundleSelector:    &metav1.LabelSelector{},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": ws}},
	})
	env.Bundles.AwaitCondition(t, intruder, fleet.Condition{
		Type: fleet.ConditionReady, Status: "False", Message: "bundle " + ws + "/web already has a deployment of this name",
	})
	bd, err := env.BundleDeployments.Get(t.Context(), deployment(own, one).Namespace, "web")
	if err != nil || bd.Labels[names.LabelBundleNamespace] != ws {
		t.Errorf("the first bundle lost its deployment: %v", err)
	}
}
