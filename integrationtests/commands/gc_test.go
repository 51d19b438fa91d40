package commands

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/cli"
	reports "github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// TestAHoldKeepsWhatAnEditTakesAway: from the hold to the release, on the
// object and on what the manager does.
func TestAHoldKeepsWhatAnEditTakesAway(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", map[string]string{"env": "dev"})
	cluster(t, ws, "two", map[string]string{"env": "prod"})
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, ws+"/one", ws+"/two")
	flotilla(t, "gc", "list", "-n", ws).mustBe(t, cli.ExitYes).mustSay(t, "Nothing is being removed.")

	flotilla(t, "gc", "hold", "-n", ws, "bundle/web").mustBe(t, cli.ExitYes).mustSay(t, "bundle/web: held")
	if held := annotation(t, ws, names.AnnotationHold); held != "true" {
		t.Fatalf("the annotation is %q", held)
	}
	env.Bundles.Edit(t, b, func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{inEnv("prod")} })
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionPruneHeld, Status: metav1.ConditionTrue, Reason: fleet.ReasonHeldByUser})
	awaitOn(t, b, ws+"/one", ws+"/two")
	list := flotilla(t, "gc", "list", "-n", ws, "bundle/web").mustBe(t, cli.ExitNo)
	list.mustSay(t, "Held", ws+"/one", "a person: flotilla gc release bundle/web", "clusterSelector env=prod: the cluster has env=dev", "hold: bundle/web in "+ws)
	flotilla(t, "gc", "list", "-n", ws, "cluster/two").mustBe(t, cli.ExitYes).mustSay(t, "Nothing is being removed.")

	flotilla(t, "gc", "release", "-n", ws, "bundle/web").mustBe(t, cli.ExitYes).mustSay(t, "bundle/web: released: ")
	awaitOn(t, b, ws+"/two")
	harness.Eventually(t, "the words are taken off", func(context.Context) error {
		if hold, release := annotation(t, ws, names.AnnotationHold), annotation(t, ws, names.AnnotationReleaseHeld); hold+release != "" {
			return fmt.Errorf("hold %q, release %q", hold, release)
		}
		return nil
	})
	harness.Eventually(t, "nothing is listed", func(context.Context) error {
		if got := flotilla(t, "gc", "list", "-n", ws); got.code != cli.ExitYes {
			return errors.New(got.out)
		}
		return nil
	})
	flotilla(t, "gc", "release", "-n", ws, "bundle/web").mustBe(t, cli.ExitYes).mustSay(t, "bundle/web: nothing of it is held")
}

func annotation(t *testing.T, workspace, name string) string {
	t.Helper()
	b, err := env.Bundles.Get(t.Context(), workspace, "web")
	if err != nil {
		t.Fatal(err)
	}
	return b.Annotations[name]
}

// TestUnholdLeavesTheBrakeToDecide: --hold-only takes a hold off and says
// nothing about what the brake does.
func TestUnholdLeavesTheBrakeToDecide(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", map[string]string{"env": "dev"})
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, ws+"/one")
	flotilla(t, "gc", "hold", "-n", ws, "bundle/web").mustBe(t, cli.ExitYes)
	env.Bundles.Edit(t, b, func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{inEnv("prod")} })
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionPruneHeld, Status: metav1.ConditionTrue})
	flotilla(t, "gc", "release", "-n", ws, "--hold-only", "bundle/web").mustBe(t, cli.ExitYes).mustSay(t, "no longer held by hand")
	if word := annotation(t, ws, names.AnnotationReleaseHeld); word != "" {
		t.Errorf("what the brake holds was let go: %q", word)
	}
	awaitOn(t, b)
}

// TestAHoldOnAGitRepoKeepsItsBundles: also those whose folder is gone, and
// whatever is said about one of them.
func TestAHoldOnAGitRepoKeepsItsBundles(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", nil)
	git := harness.GitRepository(t)
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	git.Push(t, repo.Change{Write: map[string]string{"web/a.yaml": object, "db/a.yaml": object, "api/a.yaml": object}})
	gitRepo := harness.KeyOf(env.GitRepos.Make(t, harness.NewGitRepo(ws, "shop", git, func(r *fleet.GitRepo) { r.Spec.Paths = []string{"*"} })))
	web, db := kube.Key{Namespace: ws, Name: "shop-web"}, kube.Key{Namespace: ws, Name: "shop-db"}
	awaitOn(t, web, ws+"/one")
	awaitOn(t, db, ws+"/one")
	flotilla(t, "gc", "hold", "-n", ws, "gitrepo/shop").mustBe(t, cli.ExitYes)
	git.Push(t, repo.Change{Remove: []string{"db"}})
	env.GitRepos.AwaitCondition(t, gitRepo, fleet.Condition{Type: fleet.ConditionPruneHeld, Status: metav1.ConditionTrue, Reason: fleet.ReasonHeldByUser})
	flotilla(t, "gc", "list", "-n", ws, "gitrepo/shop").mustBe(t, cli.ExitNo).
		mustSay(t, "Held", "shop-db", `its folder "db" is not in commit`, "a person: flotilla gc release gitrepo/shop")
	flotilla(t, "gc", "release", "-n", ws, "bundle/shop-db").mustBe(t, cli.ExitNo).
		mustSay(t, "bundle/shop-db: held by a hold on its GitRepo: release gitrepo/shop")
	awaitOn(t, db, ws+"/one")
	flotilla(t, "gc", "release", "-n", ws, "gitrepo/shop").mustBe(t, cli.ExitYes)
	env.Bundles.AwaitGone(t, db)
	awaitOn(t, db)
	awaitOn(t, web, ws+"/one")
	harness.Eventually(t, "nothing is listed", func(context.Context) error {
		if got := flotilla(t, "gc", "list", "-n", ws); got.code != cli.ExitYes {
			return errors.New(got.out)
		}
		return nil
	})
}

// TestTheBrakeIsListedAndReleased: a label edit that takes more than the brake
// lets through is listed, and goes on a person's word.
func TestTheBrakeIsListedAndReleased(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	const clusters = 14
	var all []string
	for i := range clusters {
		key := cluster(t, ws, fmt.Sprintf("c%02d", i), map[string]string{"env": "prod"})
		all = append(all, key.String())
	}
	b := bundle(t, ws, "web", func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{inEnv("prod")} })
	awaitOn(t, b, all...)
	harness.Eventually(t, "the targets are settled", func(context.Context) error {
		if annotation(t, ws, names.AnnotationSettledTargets) == "" {
			return errors.New("there is no annotation")
		}
		return nil
	})
	for _, c := range env.Clusters.All(t, ws, nil).Items {
		env.Clusters.Edit(t, harness.KeyOf(&c), func(c *fleet.Cluster) { c.Labels["env"] = "dev" })
	}
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionPruneHeld, Status: metav1.ConditionTrue, Reason: fleet.ReasonSideEffects})
	harness.Eventually(t, "everything is held that is left", func(context.Context) error {
		var said reports.GarbageCollection
		got := flotilla(t, "gc", "list", "-n", ws, "-o", "json")
		got.json(t, &said)
		on := deployedOn(t, b)
		for _, r := range said.Removals {
			if r.State != reports.RemovalHeld || r.Since == "" {
				return fmt.Errorf("%+v", r)
			}
		}
		if got.code != cli.ExitNo || len(on) == 0 || len(on) != len(said.Removals) || len(said.Holds) != 1 {
			return fmt.Errorf("exit code %d, %d are there, %d listed", got.code, len(on), len(said.Removals))
		}
		return nil
	})
	flotilla(t, "gc", "release", "-n", ws, "bundle/web").mustBe(t, cli.ExitYes)
	awaitOn(t, b)
	harness.Eventually(t, "nothing is listed", func(context.Context) error {
		if got := flotilla(t, "gc", "list", "-n", ws); got.code != cli.ExitYes {
			return errors.New(got.out)
		}
		return nil
	})
}

// TestRemovalsSayWhomTheyWaitFor: from the mark to the agent's word.
func TestRemovalsSayWhomTheyWaitFor(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", map[string]string{"env": "prod"})
	agent(t, one)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, ws+"/one")
	env.Bundles.Edit(t, b, func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{inEnv("dev")} })
	awaitOn(t, b)
	list := func() answered { return flotilla(t, "gc", "list", "-n", ws, "cluster/one").mustBe(t, cli.ExitYes) }
	list().mustSay(t, "Removing", "the agent of cluster "+ws+"/one to begin", "clusterSelector env=dev: the cluster has env=prod")
	say := func(status metav1.ConditionStatus, message string) {
		env.BundleDeployments.EditStatus(t, deployment(b, one), func(bd *fleet.BundleDeployment) {
			bd.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionRemoved, Status: status, Reason: fleet.ReasonUninstalling, Message: message}}
		})
	}
	say(metav1.ConditionFalse, "waiting for a finalizer")
	list().mustSay(t, "the agent of cluster "+ws+"/one: waiting for a finalizer")
	say(metav1.ConditionTrue, "")
	env.BundleDeployments.AwaitGone(t, deployment(b, one))
	list().mustSay(t, "Nothing is being removed.")
}
