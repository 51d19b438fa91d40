package garbagecollector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// folders returns the files of folders that give a bundle each.
func folders(names ...string) map[string]string {
	files := map[string]string{}
	for _, name := range names {
		files[name+"/fleet.yaml"] = "defaultNamespace: shop\n"
		files[name+"/configmap.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
	}
	return files
}

// shop makes a repository with folders a to d, and a GitRepo that follows it.
func shop(t *testing.T, workspace string) (*harness.Repository, kube.Key) {
	t.Helper()
	r := harness.GitRepository(t)
	r.Push(t, repo.Change{Write: folders("a", "b", "c", "d")})
	key := harness.KeyOf(env.GitRepos.Make(t, harness.NewGitRepo(workspace, "shop", r)))
	awaitBundles(t, key, "shop-a", "shop-b", "shop-c", "shop-d")
	return r, key
}

// awaitBundles waits until the GitRepo has exactly these bundles.
func awaitBundles(t *testing.T, repo kube.Key, want ...string) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("there are the bundles %q", want), func(context.Context) error {
		if got := bundlesOf(t, repo); !slices.Equal(got, want) {
			return fmt.Errorf("there are %q", got)
		}
		return nil
	})
}

func bundlesOf(t *testing.T, repo kube.Key) []string {
	t.Helper()
	var found []string
	for _, b := range env.Bundles.All(t, repo.Namespace, map[string]string{names.LabelRepoName: repo.Name}).Items {
		if b.DeletionTimestamp == nil {
			found = append(found, b.Name)
		}
	}
	slices.Sort(found)
	return found
}

func annotateRepo(t *testing.T, repo kube.Key, key, value string) {
	t.Helper()
	env.GitRepos.Edit(t, repo, func(r *fleet.GitRepo) { annotate(&r.ObjectMeta, key, value) })
}

func TestHalfOfTheFoldersGoAndMoreAreHeld(t *testing.T) {
	manager := env.StartManager(t, nil)
	ws := env.Workspace(t)
	clusters(t, ws, 1, nil)
	r, key := shop(t, ws)
	awaitDeployments(t, kube.Key{Namespace: ws, Name: "shop-b"}, 1)
	r.Push(t, repo.Change{Remove: []string{"a", "b", "c"}})
	env.GitRepos.AwaitCondition(t, key, held(fleet.ReasonFoldersGone, "3 bundles are held (shop-a, shop-b, shop-c)"))
	manager.Stop(t)
	manager.Start()
	probe(t, ws, 1)
	awaitBundles(t, key, "shop-a", "shop-b", "shop-c", "shop-d")

	// What comes back is not held any more; the others are still as many as they were together.
	r.Push(t, repo.Change{Write: folders("c")})
	env.GitRepos.AwaitCondition(t, key, held(fleet.ReasonFoldersGone, "2 bundles are held (shop-a, shop-b)"))
	annotateRepo(t, key, names.AnnotationReleaseHeld, "yes")
	awaitBundles(t, key, "shop-c", "shop-d")
	awaitDeployments(t, kube.Key{Namespace: ws, Name: "shop-b"}, 0)
	env.GitRepos.Await(t, key, func(gr *fleet.GitRepo) error {
		if _, there := gr.Annotations[names.AnnotationReleaseHeld]; there {
			return errors.New("the word is still there")
		}
		return notHeld(gr.Status.Conditions)
	})
	r.Push(t, repo.Change{Remove: []string{"c"}})
	awaitBundles(t, key, "shop-d")
}

// A repository whose folders are all renamed has as many new bundles as are gone: nobody has to be asked.
func TestRenamedFoldersAreNotHeld(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	r, key := shop(t, ws)
	r.Push(t, repo.Change{Remove: []string{"a", "b", "c", "d"}, Write: folders("e", "f", "g", "h")})
	awaitBundles(t, key, "shop-e", "shop-f", "shop-g", "shop-h")
}

func TestGitRepoHoldsAndReleasesAllOfItsBundles(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	all := clusters(t, ws, 12, prod)
	r, key := shop(t, ws)
	for _, name := range bundlesOf(t, key) {
		awaitDeployments(t, kube.Key{Namespace: ws, Name: name}, 12)
		awaitSettled(t, kube.Key{Namespace: ws, Name: name})
	}
	annotateRepo(t, key, names.AnnotationHold, "true")
	aim := func(value string) {
		env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) {
			gr.Spec.Targets = []fleet.GitTarget{{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": value}}}}
		})
	}
	aim("none")
	env.GitRepos.AwaitCondition(t, key, held(fleet.ReasonHeldByUser, "48 deployments are held"))
	r.Push(t, repo.Change{Remove: []string{"d"}})
	env.GitRepos.AwaitCondition(t, key, held(fleet.ReasonHeldByUser, "1 bundle is held (shop-d)"))

	// The edit under hold is an edit still, and takes all of them away.
	annotateRepo(t, key, names.AnnotationHold, "")
	awaitBundles(t, key, "shop-a", "shop-b", "shop-c")
	for _, name := range []string{"shop-a", "shop-b", "shop-c", "shop-d"} {
		awaitDeployments(t, kube.Key{Namespace: ws, Name: name}, 0)
	}
	env.GitRepos.Await(t, key, func(gr *fleet.GitRepo) error { return notHeld(gr.Status.Conditions) })

	aim("prod")
	for _, name := range bundlesOf(t, key) {
		awaitDeployments(t, kube.Key{Namespace: ws, Name: name}, 12)
		awaitSettled(t, kube.Key{Namespace: ws, Name: name})
	}
	relabel(t, all, "test")
	env.GitRepos.AwaitCondition(t, key, held(fleet.ReasonSideEffects, "6 deployments are held (2 of bundle shop-a, 2 of bundle shop-b, 2 of bundle shop-c)"))
	annotateRepo(t, key, names.AnnotationReleaseHeld, "yes")
	for _, name := range bundlesOf(t, key) {
		awaitDeployments(t, kube.Key{Namespace: ws, Name: name}, 0)
	}
	env.GitRepos.Await(t, key, func(gr *fleet.GitRepo) error {
		if _, there := gr.Annotations[names.AnnotationReleaseHeld]; there {
			return errors.New("the word is still there")
		}
		return notHeld(gr.Status.Conditions)
	})
}
