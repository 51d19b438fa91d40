package garbagecollector

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// One wrong label must not empty a fleet: what nobody asked for by name is held once it is much, also across a restart, until a
// person lets it go.
func TestSideEffectsAreHeldUntilAPersonLetsThemGo(t *testing.T) {
	manager := env.StartManager(t, nil)
	ws := env.Workspace(t)
	all := clusters(t, ws, 16, prod)
	b := bundle(t, ws, "web", inEnv("prod"))
	awaitDeployments(t, b, 16)
	awaitSettled(t, b)

	relabel(t, all, "test")
	env.Bundles.AwaitCondition(t, b, held(fleet.ReasonSideEffects, "6 deployments are held"))
	awaitDeployments(t, b, 6)
	harness.Eventually(t, "an Event says so", func(ctx context.Context) error {
		events, err := env.Kubernetes.CoreV1().Events(ws).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + fleet.ConditionPruneHeld})
		if err != nil {
			return err
		}
		if len(events.Items) == 0 {
			return errors.New("there is none")
		}
		return nil
	})

	manager.Stop(t)
	manager.Start()
	probe(t, ws, 16)
	env.Bundles.AwaitCondition(t, b, held(fleet.ReasonSideEffects, "6 deployments are held"))
	if got := deployedOn(t, b); got != 6 {
		t.Fatalf("the restart let %d of 6 go", 6-got)
	}

	annotateBundle(t, b, names.AnnotationReleaseHeld, "yes")
	awaitDeployments(t, b, 0)
	awaitWordDone(t, b)
	awaitNotHeld(t, b)
}

func TestWhatIsHeldAndMatchesAgainStays(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	all := clusters(t, ws, 14, prod)
	b := bundle(t, ws, "web", inEnv("prod"))
	awaitDeployments(t, b, 14)
	awaitSettled(t, b)
	relabel(t, all, "test")
	env.Bundles.AwaitCondition(t, b, held(fleet.ReasonSideEffects, "4 deployments are held"))
	before := env.BundleDeployments.All(t, "", map[string]string{names.LabelBundleName: b.Name, names.LabelBundleNamespace: ws}).Items

	// An edit that has nothing to do with it lets nothing go.
	target(t, b, inEnv("prod"), fleet.BundleTarget{Name: "more", ClusterName: "nobody"})
	awaitSettled(t, b)
	if got := deployedOn(t, b); got != 4 {
		t.Fatalf("an edit of something else left %d of 4", got)
	}
	relabel(t, all, "prod")
	awaitDeployments(t, b, 14)
	awaitNotHeld(t, b)
	for i := range before {
		live := env.BundleDeployments.Await(t, harness.KeyOf(&before[i]), func(*fleet.BundleDeployment) error { return nil })
		if live.UID != before[i].UID {
			t.Errorf("%s was made anew, although it was held", harness.KeyOf(live))
		}
	}
}

func TestGroupThatIsEditedTakesAwayAFewOnly(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	clusters(t, ws, 13, prod)
	group := harness.KeyOf(env.ClusterGroups.Make(t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "production"},
		Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{MatchLabels: prod}},
	}))
	b := bundle(t, ws, "web", fleet.BundleTarget{ClusterGroup: "production"})
	awaitDeployments(t, b, 13)
	awaitSettled(t, b)
	env.ClusterGroups.Edit(t, group, func(g *fleet.ClusterGroup) { g.Spec.Selector.MatchLabels = map[string]string{"env": "none"} })
	env.Bundles.AwaitCondition(t, b, held(fleet.ReasonSideEffects, "3 deployments are held"))
	awaitDeployments(t, b, 3)
	// A delete by name goes, and is not held any more.
	env.Bundles.Remove(t, b)
	env.Bundles.AwaitGone(t, b)
	awaitDeployments(t, b, 0)
}

// Somebody's own edit counts, however much it takes away, also if nobody was there to see it.
func TestEditOfAnySizeActsAtOnce(t *testing.T) {
	manager := env.StartManager(t, nil)
	ws := env.Workspace(t)
	clusters(t, ws, 16, prod)
	b := bundle(t, ws, "web", inEnv("prod"))
	awaitDeployments(t, b, 16)
	target(t, b, inEnv("none"))
	awaitDeployments(t, b, 0)
	awaitSettled(t, b)
	awaitNotHeld(t, b)

	target(t, b, inEnv("prod"))
	awaitDeployments(t, b, 16)
	awaitSettled(t, b)
	manager.Stop(t)
	target(t, b, inEnv("none"))
	manager.Start()
	awaitDeployments(t, b, 0)
	awaitSettled(t, b)
}

// The same, if the edit comes while the deployments of the state before are still being made.
func TestEditDuringAFanOutLeavesNothing(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	clusters(t, ws, 24, prod)
	for i := range 5 {
		b := bundle(t, ws, "web", everywhere())
		harness.Eventually(t, "the first are made", func(context.Context) error {
			if deployedOn(t, b) <= i*4 {
				return errors.New("not yet")
			}
			return nil
		})
		target(t, b, inEnv("none"))
		awaitSettled(t, b)
		awaitDeployments(t, b, 0)
		env.Bundles.Remove(t, b)
		env.Bundles.AwaitGone(t, b)
	}
}

func TestHeldByAPerson(t *testing.T) {
	env.StartManager(t, nil)
	ws := env.Workspace(t)
	all := clusters(t, ws, 3, prod)
	b := bundle(t, ws, "web", inEnv("prod"))
	awaitDeployments(t, b, 3)
	annotateBundle(t, b, names.AnnotationHold, "true")
	target(t, b, inEnv("none"))
	env.Bundles.AwaitCondition(t, b, held(fleet.ReasonHeldByUser, "3 deployments are held"))
	relabel(t, all[:1], "test")
	probe(t, ws, 3)
	if got := deployedOn(t, b); got != 3 {
		t.Fatalf("%d of 3 are left", got)
	}
	annotateBundle(t, b, names.AnnotationHold, "")
	awaitDeployments(t, b, 0)
	awaitSettled(t, b)
	awaitNotHeld(t, b)

	// Deleting the bundle is another word.
	other := bundle(t, ws, "api", everywhere())
	awaitDeployments(t, other, 3)
	annotateBundle(t, other, names.AnnotationHold, "true")
	env.Bundles.Remove(t, other)
	env.Bundles.AwaitGone(t, other)
	awaitDeployments(t, other, 0)
}

// A Bundle that came without a note about its targets is settled when it is first seen, and not by its first edit.
func TestFirstSightIsNoEdit(t *testing.T) {
	manager := env.StartManager(t, nil)
	ws := env.Workspace(t)
	all := clusters(t, ws, 14, prod)
	b := bundle(t, ws, "web", inEnv("prod"))
	awaitDeployments(t, b, 14)
	awaitSettled(t, b)
	manager.Stop(t)
	annotateBundle(t, b, names.AnnotationSettledTargets, "")
	relabel(t, all, "test")
	manager.Start()
	env.Bundles.AwaitCondition(t, b, held(fleet.ReasonSideEffects, "4 deployments are held"))
	awaitDeployments(t, b, 4)
	awaitSettled(t, b)
	awaitOneWord(t, b)
}

// awaitOneWord releases what is held and waits until it is gone.
func awaitOneWord(t *testing.T, b kube.Key) {
	t.Helper()
	annotateBundle(t, b, names.AnnotationReleaseHeld, "yes")
	awaitDeployments(t, b, 0)
	awaitWordDone(t, b)
}
