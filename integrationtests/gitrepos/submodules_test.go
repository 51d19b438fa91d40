package gitrepos

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// TestSubmodules: folders of a submodule are bundles like others, read with the
// credentials of the repository; one that is away takes none of them away.
func TestSubmodules(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := fill(t, harness.GitRepositoryOverTLS(t))
	lib, err := repo.Init(t.Context(), filepath.Join(filepath.Dir(r.Dir()), "lib.git"))
	if err != nil {
		t.Fatal(err)
	}
	push := func(says string) {
		t.Helper()
		commit, err := lib.Commit(t.Context(), repo.Change{Write: map[string]string{"charts/db/configmap.yaml": configMap("db", says)}})
		if err != nil {
			t.Fatal(err)
		}
		r.Push(t, repo.Change{
			Write:      map[string]string{".gitmodules": "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n", "web/configmap.yaml": configMap("web", says)},
			Submodules: map[string]string{"lib": commit},
		})
	}
	private := gitserver.Behaviour{Username: canaryUser, Password: canaryPassword}
	serve := func(behaviour gitserver.Behaviour) {
		t.Helper()
		if err := gitserver.Configure(lib.Dir(), behaviour); err != nil {
			t.Fatal(err)
		}
	}
	push("one")
	r.Serve(t, private)
	serve(private)
	secretOf(t, ws, "git", password(canaryPassword))
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) {
		gr.Spec.ClientSecretName, gr.Spec.CABundle, gr.Spec.Paths = "git", r.CA, []string{"web", "api", "lib/charts/*"}
	})
	before := awaitBundles(t, key, "shop-api", "shop-web", "shop-lib-charts-db")
	awaitNoTrouble(t, key)

	serve(gitserver.Behaviour{Failure: gitserver.FailError})
	push("two")
	awaitTrouble(t, key, fleet.ConditionAccepted, "lib: the submodule cannot be read")
	awaitSays(t, kube.Key{Namespace: ws, Name: "shop-web"}, "two")
	awaitSays(t, kube.Key{Namespace: ws, Name: "shop-lib-charts-db"}, "one")
	withoutCanaries(t, key)
	serve(private)
	awaitSays(t, kube.Key{Namespace: ws, Name: "shop-lib-charts-db"}, "two")
	awaitNoTrouble(t, key)
	after := awaitBundles(t, key, "shop-api", "shop-web", "shop-lib-charts-db")
	if before["shop-lib-charts-db"].UID != after["shop-lib-charts-db"].UID {
		t.Error("the bundle was made anew")
	}
}

// awaitSays waits until the bundle's ConfigMap says so.
func awaitSays(t *testing.T, key kube.Key, says string) {
	t.Helper()
	env.Bundles.Await(t, key, func(b *fleet.Bundle) error {
		if !strings.Contains(b.Spec.Resources[0].Content, says) {
			return fmt.Errorf("it says %s", b.Spec.Resources[0].Content)
		}
		return nil
	})
}
