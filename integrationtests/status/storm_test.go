package status

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// storm is a workspace in which everything changes at once.
type storm struct {
	t         *testing.T
	rng       *rand.Rand
	workspace string
	clusters  []kube.Key
	groups    []kube.Key
	repo      kube.Key
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{t: t, rng: rand.New(rand.NewPCG(seed, 3)), workspace: env.Workspace(t)}
	for i := range 8 {
		s.clusters = append(s.clusters, cluster(t, s.workspace, fmt.Sprint("c", i), map[string]string{"env": s.env()}))
	}
	for i := range 3 {
		s.groups = append(s.groups, harness.KeyOf(env.ClusterGroups.Make(t, &fleet.ClusterGroup{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.workspace, Name: fmt.Sprint("g", i)},
			Spec:       fleet.ClusterGroupSpec{Selector: s.selector()},
		})))
	}
	r := harness.GitRepository(t)
	r.Push(t, repo.Change{Write: folders("web", "api", "db")})
	s.repo = harness.KeyOf(env.GitRepos.Make(t, harness.NewGitRepo(s.workspace, "shop", r)))
	harness.Eventually(t, "everything is deployed everywhere", func(ctx) error {
		if n := len(s.deployments()); n != 3*len(s.clusters) {
			return fmt.Errorf("there are %d deployments", n)
		}
		return nil
	})
	return s
}

func (s *storm) env() string { return []string{"dev", "test", "prod"}[s.rng.IntN(3)] }

func (s *storm) selector() *metav1.LabelSelector {
	if s.rng.IntN(3) == 0 {
		return &metav1.LabelSelector{}
	}
	return &metav1.LabelSelector{MatchLabels: map[string]string{"env": s.env()}}
}

func (s *storm) deployments() []fleet.BundleDeployment {
	return env.BundleDeployments.All(s.t, "", labels.Set{names.LabelBundleNamespace: s.workspace}).Items
}

// change returns one of the changes that people and agents make.
func (s *storm) change() func() {
	switch n := s.rng.IntN(20); {
	case n == 0:
		selector := s.selector()
		return func() {
			env.GitRepos.Edit(s.t, s.repo, func(r *fleet.GitRepo) { r.Spec.Targets = []fleet.GitTarget{{ClusterSelector: selector}} })
		}
	case n == 1:
		group, selector := s.groups[s.rng.IntN(len(s.groups))], s.selector()
		return func() {
			env.ClusterGroups.Edit(s.t, group, func(g *fleet.ClusterGroup) { g.Spec.Selector = selector })
		}
	case n < 4:
		key, value := s.clusters[s.rng.IntN(len(s.clusters))], s.env()
		return func() {
			env.Clusters.Edit(s.t, key, func(c *fleet.Cluster) { c.Labels = map[string]string{"env": value} })
		}
	}
	on := s.clusters[s.rng.IntN(len(s.clusters))]
	key := kube.Key{
		Namespace: names.ClusterNamespace(on.Namespace, on.Name),
		Name:      []string{"shop-web", "shop-api", "shop-db"}[s.rng.IntN(3)],
	}
	report := s.report()
	return func() { s.say(key, report) }
}

// report returns what an agent may say.
func (s *storm) report() func(*fleet.BundleDeployment) {
	objects := s.rng.IntN(5)
	counts := func(bd *fleet.BundleDeployment) {
		bd.Status.ResourceCounts = fleet.ResourceCounts{Ready: objects, DesiredReady: objects}
	}
	switch s.rng.IntN(5) {
	case 0:
		return func(bd *fleet.BundleDeployment) { ready(bd); counts(bd); bd.Status.Ready = false }
	case 1:
		return func(bd *fleet.BundleDeployment) { ready(bd); counts(bd); bd.Status.NonModified = false }
	case 2:
		return func(bd *fleet.BundleDeployment) {
			bd.Status.AppliedDeploymentID = ""
			bd.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionDeployed, Status: "False", Message: "no"}}
		}
	}
	return func(bd *fleet.BundleDeployment) { ready(bd); counts(bd); bd.Status.Conditions = nil }
}

// say writes what an agent says, if its deployment is (still) there.
func (s *storm) say(key kube.Key, report func(*fleet.BundleDeployment)) {
	for {
		bd, err := env.BundleDeployments.Get(s.t.Context(), key.Namespace, key.Name)
		if err == nil {
			after := bd.DeepCopy()
			report(after)
			_, err = env.BundleDeployments.PatchStatus(s.t.Context(), bd, after)
		}
		switch {
		case apierrors.IsConflict(err):
		case err == nil, apierrors.IsNotFound(err):
			return
		default:
			s.t.Errorf("playing the agent of %s: %v", key, err)
			return
		}
	}
}

// rage makes so many changes, several at a time.
func (s *storm) rage(changes int) {
	work := make(chan func())
	var hands sync.WaitGroup
	for range 6 {
		hands.Go(func() {
			for change := range work {
				change()
			}
		})
	}
	for range changes {
		work <- s.change()
	}
	close(work)
	hands.Wait()
}

// After any storm every status says what counting says, and the auditor, which looked on all the while, found nothing.
func TestCountsAgreeAfterStorms(t *testing.T) {
	var told metrics
	env.StartManager(t, func(c *manager.Config) {
		told = serve(t, c)
		c.AuditInterval = 2 * time.Second
	})
	const seed = 11
	s := newStorm(t, seed)
	for round := range 3 {
		s.rage(120)
		env.AwaitQuiet(t)
		s.compare(fmt.Sprintf("seed %d, round %d", seed, round))
	}
	told.await(t, "flotilla_audits_total", 2)
	told.want(t, "flotilla_status_mismatch_total", 0)
	told.want(t, "flotilla_missed_events_total", 0)
}

// compare counts everything anew, from what the API server holds.
func (s *storm) compare(when string) {
	s.t.Helper()
	byBundle, byCluster := map[string][]*fleet.BundleDeployment{}, map[string][]*fleet.BundleDeployment{}
	var all []*fleet.BundleDeployment
	for _, bd := range s.deployments() {
		byBundle[bd.Labels[names.LabelBundleName]] = append(byBundle[bd.Labels[names.LabelBundleName]], &bd)
		byCluster[bd.Labels[names.LabelCluster]] = append(byCluster[bd.Labels[names.LabelCluster]], &bd)
		all = append(all, &bd)
	}
	for _, b := range env.Bundles.All(s.t, s.workspace, nil).Items {
		s.same(when, "bundle "+b.Name, count(byBundle[b.Name]), b.Status.Summary, fleet.ResourceCounts{}, fleet.ResourceCounts{})
	}
	gitRepo, err := env.GitRepos.Get(s.t.Context(), s.repo.Namespace, s.repo.Name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.same(when, "gitrepo", count(all), gitRepo.Status.Summary, objects(all), gitRepo.Status.ResourceCounts)
	if want := len(byCluster); gitRepo.Status.DesiredReadyClusters != want {
		s.t.Errorf("%s: the gitrepo is on %d clusters, and says %d", when, want, gitRepo.Status.DesiredReadyClusters)
	}
	clusters := map[string]fleet.Cluster{}
	for _, c := range env.Clusters.All(s.t, s.workspace, nil).Items {
		clusters[c.Name] = c
		s.same(when, "cluster "+c.Name, count(byCluster[c.Name]), c.Status.Summary, objects(byCluster[c.Name]), c.Status.ResourceCounts)
	}
	for _, g := range env.ClusterGroups.All(s.t, s.workspace, nil).Items {
		selector, err := metav1.LabelSelectorAsSelector(g.Spec.Selector)
		if err != nil {
			s.t.Fatal(err)
		}
		var held []*fleet.BundleDeployment
		members := 0
		for _, name := range slices.Sorted(maps.Keys(clusters)) {
			if selector.Matches(labels.Set(clusters[name].Labels)) {
				held = append(held, byCluster[name]...)
				members++
			}
		}
		s.same(when, "group "+g.Name, count(held), g.Status.Summary, objects(held), g.Status.ResourceCounts)
		if g.Status.ClusterCount != members {
			s.t.Errorf("%s: group %s has %d clusters, and says %d", when, g.Name, members, g.Status.ClusterCount)
		}
	}
}

func (s *storm) same(when, what string, want, got fleet.BundleSummary, wantObjects, gotObjects fleet.ResourceCounts) {
	s.t.Helper()
	got.NonReadyResources = nil
	if diff := cmp.Diff(want, got) + cmp.Diff(wantObjects, gotObjects); diff != "" {
		s.t.Errorf("%s: %s (-counted +said):\n%s", when, what, diff)
	}
}

func count(deployments []*fleet.BundleDeployment) fleet.BundleSummary {
	var s fleet.BundleSummary
	for _, bd := range deployments {
		s.DesiredReady++
		switch status.DeploymentState(bd) {
		case fleet.Ready:
			s.Ready++
		case fleet.NotReady:
			s.NotReady++
		case fleet.Modified:
			s.Modified++
		case fleet.OutOfSync:
			s.OutOfSync++
		case fleet.ErrApplied:
			s.ErrApplied++
		case fleet.WaitApplied:
			s.WaitApplied++
		case fleet.Pending, fleet.Unknown, fleet.WaitingForDependency:
			// No deployment says so of itself.
		}
	}
	return s
}

func objects(deployments []*fleet.BundleDeployment) fleet.ResourceCounts {
	var sum fleet.ResourceCounts
	for _, bd := range deployments {
		sum.Ready += bd.Status.ResourceCounts.Ready
		sum.DesiredReady += bd.Status.ResourceCounts.DesiredReady
	}
	return sum
}
