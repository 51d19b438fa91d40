package removals

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// exodus is a world in which a bundle is about to leave on each of many ways.
type exodus struct {
	*world
	repository *harness.Repository
	// before is the trace of what stays.
	before map[string]trace
}

func newExodus(t *testing.T) *exodus {
	t.Helper()
	e := &exodus{world: newWorld(t, "one", "two")}
	e.repository, _ = e.world.repository("api", "web", "docs")
	byLabel := []fleet.BundleTarget{{ClusterSelector: labelled("prod")}}
	byGroup := []fleet.BundleTarget{{ClusterGroup: "group"}}
	e.group()
	e.bundle("deleted")
	e.bundle("retargeted")
	e.bundle("restricted")
	e.bundle("relabelled", func(b *fleet.Bundle) { b.Spec.Targets = byLabel })
	e.bundle("grouped", func(b *fleet.Bundle) { b.Spec.Targets = byGroup })
	e.bundle("stays")
	all := where{}
	for _, name := range []string{"shop-api", "shop-web", "shop-docs", "deleted", "retargeted", "restricted", "relabelled", "grouped", "stays"} {
		all[name] = on("one", "two")
	}
	e.awaitRuns(all)
	e.before = e.traces(where{
		"stays": on("one", "two"), "shop-api": on("one", "two"), "shop-docs": on("one", "two"),
		"retargeted": on("two"), "restricted": on("two"), "relabelled": on("two"), "grouped": on("two"),
	})
	return e
}

// leave has every bundle leave on its way, while nobody is there to see it.
func (e *exodus) leave(t *testing.T) {
	t.Helper()
	hub.Bundles.Remove(t, e.key("deleted"))
	hub.Bundles.Edit(t, e.key("retargeted"), only("two"))
	hub.Bundles.Edit(t, e.key("restricted"), func(b *fleet.Bundle) {
		b.Spec.TargetRestrictions = []fleet.BundleTargetRestriction{{ClusterName: "two"}}
	})
	hub.ClusterGroups.Edit(t, e.key("group"), func(g *fleet.ClusterGroup) {
		g.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"name": "two"}}
	})
	e.relabel("one", "dev")
	e.repository.Push(t, repo.Change{Remove: []string{"web"}})
}

// over is what remains when all have left.
func (e *exodus) over() where {
	two := on("two")
	return where{
		"stays": on("one", "two"), "shop-api": on("one", "two"), "shop-docs": on("one", "two"),
		"retargeted": two, "restricted": two, "relabelled": two, "grouped": two,
	}
}

// What nobody saw happen is found when the manager is back.
func TestManagerDownMeanwhile(t *testing.T) {
	manager := hub.StartManager(t, nil)
	e := newExodus(t)
	manager.Stop(t)
	e.leave(t)
	manager.Start()
	e.awaitRuns(e.over())
	e.untouched(e.before)
}

// The agents are back first. All they find are deployments as they were, and
// one that the manager has not marked is none to remove.
func TestManagerAndAgentsDownMeanwhile(t *testing.T) {
	manager := hub.StartManager(t, nil)
	e := newExodus(t)
	all := e.traces(where{"deleted": on("one"), "grouped": on("one"), "relabelled": on("one"), "shop-web": on("two")})
	e.stopAll()
	manager.Stop(t)
	e.leave(t)
	e.startAll()
	for _, m := range e.members {
		m.awaitAnnounced()
	}
	e.untouched(all)
	manager.Start()
	e.awaitRuns(e.over())
	e.untouched(e.before)
}

// A cluster is deleted together with everything on it, while nobody is there to
// see what comes first. It is unregistered: its workloads stay.
func TestClusterDeletedWithItsBundlesMeanwhile(t *testing.T) {
	manager := hub.StartManager(t, nil)
	w := newWorld(t, "one", "two")
	_, shop := w.repository("web")
	web := w.bundle("web")
	there := where{"shop-web": on("one", "two"), "web": on("one", "two")}
	w.awaitRuns(there)
	before := w.traces(where{"shop-web": on("two"), "web": on("two")})
	manager.Stop(t)
	hub.GitRepos.Remove(t, shop)
	hub.Bundles.Remove(t, web)
	hub.Clusters.Remove(t, w.key("two"))
	manager.Start()
	w.await(want{left: where{"shop-web": on("two"), "web": on("two")}, gone: on("two")})
	w.untouched(before)
}
