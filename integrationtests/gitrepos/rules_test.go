package gitrepos

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func deployments(t *testing.T, workspace string) []fleet.BundleDeployment {
	t.Helper()
	return env.BundleDeployments.All(t, names.ClusterNamespace(workspace, "one"), nil).Items
}

// TestRulesHoldAndRemoveNothing adds rules that what runs breaks already.
func TestRulesHoldAndRemoveNothing(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws)
	r := shop(t)
	key := follow(t, ws, r.URL, nil)
	awaitDesired(t, key, 2)
	before := deployments(t, ws)
	rule := env.GitRepoRestrictions.Make(t, &fleet.GitRepoRestriction{
		ObjectMeta:          metav1.ObjectMeta{Namespace: ws, Name: "rule"},
		AllowedRepoPatterns: []string{"https://elsewhere/.*"}, AllowedServiceAccounts: []string{"deployer"},
	})
	awaitTrouble(t, key, fleet.ConditionAccepted, "spec.repo: the address matches none of the patterns that GitRepoRestriction rule allows")
	r.Push(t, repo.Change{Remove: []string{"api"}})
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.ServiceAccount = "root" })
	awaitTrouble(t, key, fleet.ConditionAccepted, `spec.serviceAccount: "root" is not among the names that GitRepoRestriction rule allows (deployer)`)
	if after := deployments(t, ws); len(after) != len(before) {
		t.Errorf("%d deployments are left of %d", len(after), len(before))
	}
	env.GitRepoRestrictions.Edit(t, harness.KeyOf(rule), func(x *fleet.GitRepoRestriction) {
		x.AllowedRepoPatterns, x.DefaultServiceAccount = []string{"http://127.0.0.1:[0-9]+/.*"}, "deployer"
	})
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.ServiceAccount = "" })
	awaitNoTrouble(t, key)
	awaitBundles(t, key, "shop-web")
	harness.Eventually(t, "the default service account is used", func(ctx) error {
		for _, bd := range deployments(t, ws) {
			if bd.DeletionTimestamp == nil && bd.Spec.Options.ServiceAccount != "deployer" {
				return fmt.Errorf("%s is run as %q", bd.Name, bd.Spec.Options.ServiceAccount)
			}
		}
		return nil
	})
}

// TestFolderCannotNameWhatRulesForbid has a fleet.yaml try.
func TestFolderCannotNameWhatRulesForbid(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws)
	env.GitRepoRestrictions.Make(t, &fleet.GitRepoRestriction{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "rule"}, AllowedServiceAccounts: []string{"deployer"},
	})
	r := shop(t)
	r.Push(t, repo.Change{Write: map[string]string{"web/fleet.yaml": "defaultNamespace: shop\ntargetCustomizations:\n- name: all\n  clusterSelector: {}\n  serviceAccount: root\n"}})
	// A service account of the GitRepo would win over that of a folder.
	key := follow(t, ws, r.URL, nil)
	awaitBundles(t, key, "shop-api", "shop-web")
	env.Bundles.AwaitCondition(t, harnessKey{Namespace: ws, Name: "shop-web"}, fleet.Condition{Type: fleet.ConditionReady, Status: "False", Message: `serviceAccount: "root" is not among`})
	for _, bd := range deployments(t, ws) {
		if bd.Spec.Options.ServiceAccount != "" || bd.Name == "shop-web" {
			t.Errorf("%s is run as %q", bd.Name, bd.Spec.Options.ServiceAccount)
		}
	}
}

func TestPolicyHoldsForBundles(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws)
	env.Policies.Make(t, &fleet.Policy{ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "rule"}, RequireServiceAccount: true})
	b := env.Bundles.Make(t, &fleet.Bundle{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "mine"},
		Spec: fleet.BundleSpec{
			Resources: []fleet.BundleResource{{Name: "a.yaml", Content: configMap("a", "one")}},
			Targets:   []fleet.BundleTarget{{ClusterSelector: &metav1.LabelSelector{}}},
		},
	})
	key := harness.KeyOf(b)
	env.Bundles.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionReady, Status: "False", Message: "requires a service account"})
	if made := deployments(t, ws); len(made) > 0 {
		t.Errorf("%d deployments were made", len(made))
	}
	env.Bundles.Edit(t, key, func(b *fleet.Bundle) { b.Spec.ServiceAccount = "deployer" })
	harness.Eventually(t, "it is deployed", func(ctx) error {
		made := deployments(t, ws)
		if len(made) != 1 {
			return fmt.Errorf("there are %d deployments", len(made))
		}
		if create := made[0].Spec.Options.CreateNamespace; create == nil || *create {
			return fmt.Errorf("the agent may create namespaces")
		}
		return nil
	})
}

// TestCorrectedSecretCountsAtOnce has no poll, and no retry, help.
func TestCorrectedSecretCountsAtOnce(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	r.Serve(t, gitserver.Behaviour{Username: "shop", Password: "s3cret-s3cret"})
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) { gr.Spec.ClientSecretName, gr.Spec.DisablePolling = "git", true })
	awaitTrouble(t, key, fleet.ConditionGitPolling, "spec.clientSecretName: Secret git is not in namespace "+ws)
	secret := env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "git"}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{"username": []byte("shop"), "password": []byte("wr0ng-wr0ng")},
	})
	awaitTrouble(t, key, fleet.ConditionGitPolling, "check the user name and password")
	env.Secrets.Edit(t, harness.KeyOf(secret), func(s *corev1.Secret) { s.Data["password"] = []byte("s3cret-s3cret") })
	awaitBundles(t, key, "shop-api", "shop-web")
	awaitNoTrouble(t, key)
}
