package faults

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
)

// causes are the kinds that decide whether a deployment has to go.
func causes() []string {
	return []string{"bundles", "bundledeployments", "clusters", "clustergroups", "bundlenamespacemappings", "gitrepos"}
}

// lagging returns what a new leader may be shown an old state of: each kind by itself, and all of them.
func lagging() map[string][]string {
	all := map[string][]string{"everything": causes()}
	for _, kind := range causes() {
		all[kind] = []string{kind}
	}
	return all
}

// turning is a scene in which every kind of cause decides about some deployments.
type turning struct {
	*scene
	one, two, far         kube.Key
	web, grouped, reached kube.Key
	group                 kube.Key
}

// newTurning returns a scene in which nothing is deployed to the clusters that turn. One bundle stays all the time, another one
// matches all the time, too, until it is narrowed.
func newTurning(t *testing.T) *turning {
	s := newScene(t)
	w := &turning{scene: s}
	w.one, w.two = s.cluster("one", "prod"), s.cluster("two", "off")
	w.far = harness.KeyOf(env.Clusters.Make(s, harness.NewCluster(s.away, "far", nil)))
	w.group = s.group("group", "none")
	w.web = s.bundle("web", where("prod"))
	w.grouped = s.bundle("grouped", members("group"))
	w.reached = s.bundle("reached", fleet.BundleTarget{Name: "far", ClusterName: "far"})
	s.bundle("late", where("none"))
	s.bundle("steady", everywhere())
	return w
}

// on has everything match, off has it match no more; both touch every kind of cause.
func (w *turning) on() {
	w.relabel(w.two, "prod")
	env.ClusterGroups.Edit(w, w.group, func(g *fleet.ClusterGroup) { g.Spec.Selector = inEnv("prod") })
	w.retarget(kube.Key{Namespace: w.home, Name: "late"}, where("prod"))
	env.BundleNamespaceMappings.Make(w, &fleet.BundleNamespaceMapping{
		ObjectMeta:        metav1.ObjectMeta{Namespace: w.home, Name: "mapping"},
		BundleSelector:    &metav1.LabelSelector{},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.away}},
	})
}

func (w *turning) off() {
	w.relabel(w.two, "off")
	env.ClusterGroups.Edit(w, w.group, func(g *fleet.ClusterGroup) { g.Spec.Selector = inEnv("none") })
	w.retarget(kube.Key{Namespace: w.home, Name: "late"}, where("none"))
	env.BundleNamespaceMappings.Remove(w, kube.Key{Namespace: w.home, Name: "mapping"})
}

// A new leader whose caches are filled from an API server that lags behind sees deployments that nothing seems to justify. It
// asks before it deletes, and so deletes nothing; and once its caches catch up, what really has to go goes.
func TestNewLeaderIsShownThePast(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(lagging())) {
		kinds := lagging()[name]
		t.Run("in which nothing matched, of "+name, func(t *testing.T) {
			if name != "everything" {
				harness.Long(t)
			}
			old, line := harness.NewLine(), harness.NewLine()
			w := newTurning(t)
			first := env.StartReplica(t, through(old))
			w.settle()
			past := env.Photograph(t, kinds...)
			w.on()
			w.settle()
			before := w.deployments()
			if err := first.Crash(); err != nil {
				t.Fatal(err)
			}
			line.ShowOld(past)
			w.rests(w.lead(line))
			w.stays(before)
			w.innocent()
			// Nobody has told the leader of this either: it is found out when the caches catch up.
			w.retarget(w.web, where("off"))
			line.CatchUp()
			w.settle()
			delete(before, "web on one")
			delete(before, "web on two")
			w.stays(before)
			if conditional(t, line) == 0 {
				t.Error("nothing was deleted in the end")
			}
			asked(t, line)
		})
	}
}

// The other way round, a leader that is shown a past in which more matched may deploy that once more; it takes it back as soon as it
// knows better, and nothing else suffers.
func TestNewLeaderIsShownThePastInWhichMoreMatched(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(lagging())) {
		kinds := lagging()[name]
		t.Run("of "+name, func(t *testing.T) {
			if name != "bundles" {
				harness.Long(t)
			}
			line := harness.NewLine()
			w := newTurning(t)
			first := env.StartReplica(t, nil)
			w.on()
			w.settle()
			past := env.Photograph(t, kinds...)
			w.off()
			w.settle()
			before := w.deployments()
			if err := first.Crash(); err != nil {
				t.Fatal(err)
			}
			line.ShowOld(past)
			w.rests(w.lead(line))
			t.Logf("deployed once more: %d deployments", len(w.deployments())-len(before))
			w.stays(before)
			line.CatchUp()
			w.settle()
			w.stays(before)
			conditional(t, line)
		})
	}
}

// lead starts a manager on a line and returns where it says whether it is ready.
func (s *scene) lead(line *harness.Line) (address string) {
	s.Helper()
	address = freeAddress(s)
	env.StartReplica(s, func(config *manager.Config) {
		config.Hub, config.MetricsAddress = line.Through(config.Hub), address
	})
	return address
}

// rests returns when a manager has filled its caches and done what it then wants.
func (s *scene) rests(address string) {
	s.Helper()
	s.ready(address)
	harness.Eventually(s, "the new leader has come to rest", func(ctx ctx) error {
		s.history.AwaitStill(ctx, still)
		return ctx.Err()
	})
	s.catchUp()
}

// asked fails the test if a deployment was deleted without a look at its bundle and its cluster before that.
func asked(t *testing.T, line *harness.Line) {
	t.Helper()
	var bundle, cluster bool
	for _, r := range line.Requests() {
		switch {
		case r.Method == http.MethodGet && strings.Contains(r.Path, "/bundles"):
			bundle = true
		case r.Method == http.MethodGet && strings.Contains(r.Path, "/clusters"):
			cluster = true
		case r.Method == http.MethodDelete && strings.Contains(r.Path, "/bundledeployments/") && (!bundle || !cluster):
			t.Errorf("%s came without a look at the bundle (%t) and the cluster (%t)", r, bundle, cluster)
		}
	}
}
