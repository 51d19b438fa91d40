package gitrepos

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestFoldersBecomeBundles(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	head, err := r.Head(t.Context(), repo.DefaultBranch)
	if err != nil {
		t.Fatal(err)
	}
	key := follow(t, ws, r.URL, nil)
	found := awaitBundles(t, key, "shop-api", "shop-web")
	web := found["shop-web"]
	if web.Labels[names.LabelCommit] != head || web.Annotations[names.AnnotationPath] != "web" {
		t.Errorf("labels %v, annotations %v", web.Labels, web.Annotations)
	}
	if web.Spec.DefaultNamespace != "shop" || len(web.Spec.Resources) != 1 || web.Spec.Resources[0].Name != "configmap.yaml" {
		t.Errorf("spec is %+v", web.Spec)
	}
	awaitCommit(t, key, head)
	awaitNoTrouble(t, key)
}

func TestCommitWritesOnlyWhatItChanges(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	key := follow(t, ws, r.URL, nil)
	before := awaitBundles(t, key, "shop-api", "shop-web")
	second := r.Push(t, repo.Change{Write: map[string]string{"web/configmap.yaml": configMap("web", "two")}})
	awaitCommit(t, key, second)
	after := bundles(t, key)
	if after["shop-api"].Generation != before["shop-api"].Generation || after["shop-api"].Labels[names.LabelCommit] == second {
		t.Error("a bundle that the commit does not change was written")
	}
	if after["shop-web"].Labels[names.LabelCommit] != second {
		t.Error("the bundle that the commit changes does not name it")
	}
}

func TestFolderThatLeavesTakesItsBundleAlong(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	key := follow(t, ws, r.URL, nil)
	awaitBundles(t, key, "shop-api", "shop-web")
	r.Push(t, repo.Change{Remove: []string{"api"}})
	awaitBundles(t, key, "shop-web")
	r.Push(t, repo.Change{Write: map[string]string{"api/configmap.yaml": configMap("api", "back")}})
	awaitBundles(t, key, "shop-api", "shop-web")
}

func TestPathsLimitWhatIsRead(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) { gr.Spec.Paths = []string{"web"} })
	awaitBundles(t, key, "shop-web")
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.Paths = []string{"api"} })
	awaitBundles(t, key, "shop-api")
}

func TestRevisionWinsOverBranch(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	first, err := r.Head(t.Context(), repo.DefaultBranch)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Tag(t.Context(), "v1", first); err != nil {
		t.Fatal(err)
	}
	second := r.Push(t, repo.Change{Remove: []string{"api"}})
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) { gr.Spec.Revision = "v1" })
	awaitBundles(t, key, "shop-api", "shop-web")
	awaitCommit(t, key, first)
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.Revision = second })
	awaitBundles(t, key, "shop-web")
}

func TestTargetEditNeedsNoRepository(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws)
	r := shop(t)
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) { gr.Spec.PollingInterval = &metav1.Duration{Duration: time.Hour} })
	awaitDesired(t, key, 2)
	r.Serve(t, gitserver.Behaviour{Failure: gitserver.FailError})
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.Targets = []fleet.GitTarget{{Name: "none", ClusterName: "none"}} })
	awaitDesired(t, key, 0)
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.Targets = []fleet.GitTarget{{Name: "one", ClusterName: "one"}} })
	awaitDesired(t, key, 2)
}

// awaitDesired waits until the GitRepo counts so many deployments.
func awaitDesired(t *testing.T, key harnessKey, want int) {
	t.Helper()
	env.GitRepos.Await(t, key, func(gr *fleet.GitRepo) error {
		if got := gr.Status.Summary.DesiredReady; got != want {
			return fmt.Errorf("desiredReady is %d, want %d", got, want)
		}
		return nil
	})
}

func TestDeletedGitRepoLeavesNothing(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws)
	r := shop(t)
	key := follow(t, ws, r.URL, nil)
	awaitDesired(t, key, 2)
	env.GitRepos.Remove(t, key)
	env.GitRepos.AwaitGone(t, key)
	awaitBundles(t, key)
	harness.Eventually(t, "no deployment is left", func(ctx) error {
		if left := env.BundleDeployments.All(t, names.ClusterNamespace(ws, "one"), nil).Items; len(left) > 0 {
			return fmt.Errorf("%d are left", len(left))
		}
		return nil
	})
}

func TestBundleThatSomebodyEditsIsPutRight(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	key := follow(t, ws, r.URL, nil)
	awaitBundles(t, key, "shop-api", "shop-web")
	web := harnessKey{Namespace: ws, Name: "shop-web"}
	env.Bundles.Edit(t, web, func(b *fleet.Bundle) { b.Spec.DefaultNamespace = "elsewhere" })
	env.Bundles.Await(t, web, func(b *fleet.Bundle) error {
		if b.Spec.DefaultNamespace != "shop" {
			return fmt.Errorf("it deploys to %q", b.Spec.DefaultNamespace)
		}
		return nil
	})
	env.Bundles.Remove(t, web)
	awaitBundles(t, key, "shop-api")
	awaitBundles(t, key, "shop-api", "shop-web")
}
