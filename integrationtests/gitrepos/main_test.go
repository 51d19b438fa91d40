// Package gitrepos tests how commits of a real git server become bundles on a
// real hub, with the real manager, and what becomes of bad input.
package gitrepos

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{Manager: true}, func(e *harness.Environment) { env = e }))
}

type ctx = context.Context

// configMap is a manifest that says what it is told.
func configMap(name, says string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  says: %q\n", name, says)
}

// shop is a repository with two folders.
func shop(t *testing.T) *harness.Repository {
	t.Helper()
	r := harness.GitRepository(t)
	r.Push(t, repo.Change{Write: map[string]string{
		"api/configmap.yaml": configMap("api", "one"),
		"web/configmap.yaml": configMap("web", "one"),
		"web/fleet.yaml":     "defaultNamespace: shop\n",
	}})
	return r
}

// follow makes a GitRepo that is asked every second and deploys everywhere.
func follow(t *testing.T, workspace, url string, edit func(*fleet.GitRepo)) kube.Key {
	t.Helper()
	gr := &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "shop"},
		Spec: fleet.GitRepoSpec{
			Repo: url, Branch: repo.DefaultBranch, Paths: []string{"*"},
			PollingInterval: &metav1.Duration{Duration: time.Second},
			Targets:         []fleet.GitTarget{{Name: "all", ClusterSelector: &metav1.LabelSelector{}}},
		},
	}
	if edit != nil {
		edit(gr)
	}
	return harness.KeyOf(env.GitRepos.Make(t, gr))
}

// cluster makes a Cluster without an agent.
func cluster(t *testing.T, workspace string) {
	t.Helper()
	env.Clusters.Make(t, &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "one"}})
}

// awaitCommit waits until the bundles are those of the commit.
func awaitCommit(t *testing.T, key kube.Key, commit string) {
	t.Helper()
	env.GitRepos.Await(t, key, func(gr *fleet.GitRepo) error {
		if gr.Status.Commit != commit {
			return fmt.Errorf("it is at commit %q, want %q", gr.Status.Commit, commit)
		}
		return nil
	})
}

// bundles returns the GitRepo's bundles by name, without those being deleted.
func bundles(t *testing.T, key kube.Key) map[string]*fleet.Bundle {
	t.Helper()
	list := env.Bundles.All(t, key.Namespace, labels.Set{names.LabelRepoName: key.Name})
	found := map[string]*fleet.Bundle{}
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			found[list.Items[i].Name] = &list.Items[i]
		}
	}
	return found
}

// awaitBundles waits until the GitRepo has exactly these bundles.
func awaitBundles(t *testing.T, key kube.Key, want ...string) map[string]*fleet.Bundle {
	t.Helper()
	slices.Sort(want)
	var found map[string]*fleet.Bundle
	harness.Eventually(t, fmt.Sprintf("GitRepo %s has bundles %q", key, want), func(ctx) error {
		found = bundles(t, key)
		var have []string
		for name := range found {
			have = append(have, name)
		}
		if slices.Sort(have); !slices.Equal(have, want) {
			return fmt.Errorf("it has %q", have)
		}
		return nil
	})
	return found
}

// awaitTrouble waits until the GitRepo says what is wrong: in the condition
// itself, and in Ready.
func awaitTrouble(t *testing.T, key kube.Key, condition, message string) {
	t.Helper()
	env.GitRepos.AwaitCondition(t, key, fleet.Condition{Type: condition, Status: "False", Message: message})
	env.GitRepos.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionReady, Status: "False", Message: message})
}

// awaitNoTrouble waits until nothing is wrong with the input any more.
func awaitNoTrouble(t *testing.T, key kube.Key) {
	t.Helper()
	env.GitRepos.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionAccepted, Status: "True"})
	env.GitRepos.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionGitPolling, Status: "True"})
}
