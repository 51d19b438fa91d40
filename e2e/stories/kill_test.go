package stories

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const (
	killRepo      = "kill"
	killNamespace = "kill"
	agentVictim   = "agent/downstream-1"
	managerVictim = "manager"
	// within is how long after a push the kill comes at the latest: a commit
	// that nothing disturbs is rolled out by then. withinWork is the same from
	// the moment at which the hub asks for something new: that is when the
	// agent works.
	within     = 2500 * time.Millisecond
	withinWork = 600 * time.Millisecond
)

// killFlags says how often is killed, and when.
type killFlags struct {
	kills, seed, round *int
}

// killing holds the flags; they follow -args.
var killing = killFlags{
	kills: flag.Int("kills", 0, "how often an agent is killed; 0 for 10, or 2 with -short"),
	seed:  flag.Int("kills-seed", 20260101, "what the moments of the kills come from"),
	round: flag.Int("kills-round", -1, "kill in this round alone, to see again what failed"),
}

func (f killFlags) rounds() (from, to int) {
	switch {
	case *f.round >= 0:
		return *f.round, *f.round + 1
	case *f.kills > 0:
		return 0, *f.kills
	case testing.Short():
		return 0, 2
	}
	return 0, 10
}

func downstream() []string { return []string{"downstream-1", "downstream-2"} }

// kill is one kill of a round. It follows from the seed and the round alone.
type kill struct {
	victim string
	// atWork counts moment from when the hub asks for something new, else it counts from the push.
	atWork bool
	moment time.Duration
}

func killOf(seed, round int, victim string) kill {
	random := rand.New(rand.NewPCG(uint64(seed), uint64(round)<<1|uint64(len(victim)&1)))
	k := kill{victim: victim, atWork: random.IntN(3) > 0}
	latest := within
	if k.atWork {
		latest = withinWork
	}
	k.moment = time.Duration(random.Int64N(int64(latest)))
	return k
}

func (k kill) String() string {
	after := "the push"
	if k.atWork {
		after = "the hub asked for it"
	}
	return fmt.Sprintf("%s killed %s after %s", k.victim, k.moment, after)
}

// Killed at any moment of installs, upgrades and removals, the agents and the
// manager go on where they were: every commit arrives, every release is whole
// and there once, nothing is left over.
//
//	go test ./e2e/stories -run Killed -count=1 -timeout 60m -args -kills 100
func TestKilledAtAnyMomentEverythingConverges(t *testing.T) {
	from, to := killing.rounds()
	s := newKillStory(t)
	s.push(t, "before", "before")
	s.follow(t)
	s.awaitRound(t, "before")
	for i := from; i < to; i++ {
		s.round(t, i, agentVictim)
		if i%5 == 0 {
			s.round(t, i, managerVictim)
		}
	}
	s.remove(t)
	t.Logf("%d kills, seed %d: every round ended as it should; it took them %s at the median, %s at most",
		len(s.took), *killing.seed, s.median().Round(time.Millisecond), slices.Max(s.took).Round(time.Millisecond))
}

// round kills the victim while a commit is rolled out, and waits until all is
// as it should be.
func (s *killStory) round(t *testing.T, i int, victim string) {
	t.Helper()
	k := killOf(*killing.seed, i, victim)
	round := fmt.Sprintf("%d-%s", i, victim[:5])
	t.Logf("round %s: %s (again: -args -kills-seed %d -kills-round %d)", round, k, *killing.seed, i)
	began := time.Now()
	s.push(t, round, s.last)
	if k.atWork {
		s.awaitAsked(t, round)
	}
	killAfter(t, k)
	s.awaitRound(t, round)
	s.took = append(s.took, time.Since(began))
}

type killStory struct {
	hub      *kube.Hub
	clusters map[string]kubernetes.Interface
	// last is the round that was pushed last, took how long rounds took from the push until all was as it should be.
	last string
	took []time.Duration
}

func (s *killStory) median() time.Duration {
	sorted := slices.Sorted(slices.Values(s.took))
	return sorted[len(sorted)/2]
}

func newKillStory(t *testing.T) *killStory {
	t.Helper()
	hub, err := flotilla.Hub()
	if err != nil {
		t.Fatal(err)
	}
	s := &killStory{hub: hub, clusters: map[string]kubernetes.Interface{}}
	for _, name := range downstream() {
		cluster, err := flotilla.Cluster(name)
		if err != nil {
			t.Fatal(err)
		}
		config, err := cluster.RESTConfig()
		if err != nil {
			t.Fatal(err)
		}
		if s.clusters[name], err = kubernetes.NewForConfig(config); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// push commits what upgrades two releases, a plain manifest and a chart that
// both say the round, installs one of the round's own, and removes that of the
// round before.
func (s *killStory) push(t *testing.T, round, before string) {
	t.Helper()
	ctx := t.Context()
	r, err := repo.Init(ctx, flotilla.Repository(killRepo).Dir())
	if err != nil {
		t.Fatal(err)
	}
	configMap := func(name, says string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  round: %s\n", name, says)
	}
	change := repo.Change{Write: map[string]string{
		"plain/configmap.yaml":           configMap("plain", strconv.Quote(round)),
		"plain/fleet.yaml":               "defaultNamespace: " + killNamespace + "\n",
		"chart/Chart.yaml":               "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"chart/templates/configmap.yaml": configMap("chart", "{{ .Values.round | quote }}"),
		"chart/fleet.yaml":               "defaultNamespace: " + killNamespace + "\nhelm:\n  values:\n    round: " + strconv.Quote(round) + "\n",
		own(round) + "/configmap.yaml":   configMap(own(round), strconv.Quote(round)),
		own(round) + "/fleet.yaml":       "defaultNamespace: " + killNamespace + "\n",
	}}
	if before != round {
		change.Remove = []string{own(before)}
	}
	if _, err = r.Commit(ctx, change); err != nil {
		t.Fatal(err)
	}
	s.last = round
}

// own names what a round alone has: a folder and a ConfigMap.
func own(round string) string { return "own-" + round }

// awaitAsked waits until the hub asks the first cluster for what the round
// alone has.
func (s *killStory) awaitAsked(t *testing.T, round string) {
	t.Helper()
	harness.Eventually(t, "the hub asks for round "+round, func(ctx context.Context) error {
		all, err := s.hub.BundleDeployments.List(ctx, names.ClusterNamespace(names.WorkspaceDefault, downstream()[0]), nil)
		if err != nil {
			return err
		}
		for _, bd := range all.Items {
			if bd.Name == names.Bundle(killRepo, own(round)) {
				return nil
			}
		}
		return errors.New("it does not")
	})
}

func (s *killStory) follow(t *testing.T) {
	t.Helper()
	_, err := s.hub.GitRepos.Create(t.Context(), &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: names.WorkspaceDefault, Name: killRepo},
		Spec: fleet.GitRepoSpec{
			Repo: flotilla.GitURL() + "/" + killRepo + ".git", Branch: repo.DefaultBranch, Paths: []string{"plain", "chart", "own-*"},
			PollingInterval: &metav1.Duration{Duration: time.Second},
			Targets:         []fleet.GitTarget{{Name: "all", ClusterSelector: &metav1.LabelSelector{}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// killAfter kills at the moment and starts the victim again at once.
func killAfter(t *testing.T, k kill) {
	t.Helper()
	moment, cancel := context.WithTimeout(t.Context(), k.moment)
	defer cancel()
	<-moment.Done()
	if err := t.Context().Err(); err != nil {
		t.Fatal(err)
	}
	if err := flotilla.Kill(t.Context(), k.victim); err != nil {
		t.Fatal(err)
	}
	if err := flotilla.Start(t.Context(), k.victim); err != nil {
		t.Fatal(err)
	}
}

// awaitRound waits until everything is the round's: the objects on both
// clusters, the releases, and what the hub says.
func (s *killStory) awaitRound(t *testing.T, round string) {
	t.Helper()
	for _, name := range downstream() {
		harness.Eventually(t, "cluster "+name+" runs round "+round, func(ctx context.Context) error {
			return errors.Join(s.objectsAre(ctx, name, round), s.releasesAreWhole(ctx, name, round))
		})
	}
	harness.Eventually(t, "the hub says so", func(ctx context.Context) error {
		gr, err := s.hub.GitRepos.Get(ctx, names.WorkspaceDefault, killRepo)
		if err != nil {
			return err
		}
		head, err := flotilla.Repository(killRepo).Head(ctx, repo.DefaultBranch)
		if err != nil {
			return err
		}
		if ready := gr.Status.Display.ReadyBundleDeployments; ready != "6/6" || gr.Status.Commit != head {
			return fmt.Errorf("GitRepo says %s ready at commit %s, want 6/6 at %s: %+v", ready, gr.Status.Commit, head, gr.Status.Conditions)
		}
		return nil
	})
}

// objectsAre fails unless the objects of releases are those of the round, and
// no others.
func (s *killStory) objectsAre(ctx context.Context, cluster, round string) error {
	list, err := s.clusters[cluster].CoreV1().ConfigMaps(killNamespace).List(ctx, metav1.ListOptions{LabelSelector: names.LabelObjectSetHash})
	if err != nil {
		return err
	}
	is := map[string]string{}
	for _, object := range list.Items {
		is[object.Name] = object.Data["round"]
	}
	if want := map[string]string{"plain": round, "chart": round, own(round): round}; !maps.Equal(is, want) {
		return fmt.Errorf("ConfigMaps are %v, want %v", is, want)
	}
	return nil
}

// releasesAreWhole fails if a release is unfinished, is there more than once,
// or does not belong to the round.
func (s *killStory) releasesAreWhole(ctx context.Context, cluster, round string) error {
	secrets, err := s.clusters[cluster].CoreV1().Secrets(killNamespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		return err
	}
	deployed := map[string]int{}
	for _, secret := range secrets.Items {
		switch status := secret.Labels["status"]; status {
		case "deployed":
			deployed[secret.Labels["name"]]++
		case "superseded", "failed":
		default:
			return fmt.Errorf("release %s is %s", secret.Labels["name"], status)
		}
	}
	want := map[string]int{}
	for _, folder := range []string{"plain", "chart", own(round)} {
		want[names.HelmRelease(names.Bundle(killRepo, folder))] = 1
	}
	if !maps.Equal(deployed, want) {
		return fmt.Errorf("releases are deployed as often as %v says, want %v", deployed, want)
	}
	return nil
}

// remove deletes the GitRepo and waits until nothing of it is left anywhere.
func (s *killStory) remove(t *testing.T) {
	t.Helper()
	gr, err := s.hub.GitRepos.Get(t.Context(), names.WorkspaceDefault, killRepo)
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the GitRepo is deleted", func(ctx context.Context) error {
		if gr, err = s.hub.GitRepos.Get(ctx, gr.Namespace, gr.Name); err != nil {
			return err
		}
		return s.hub.GitRepos.Delete(ctx, gr)
	})
	harness.Eventually(t, "nothing is left on the hub", func(ctx context.Context) error {
		left, err := s.hub.BundleDeployments.List(ctx, "", nil)
		if err != nil {
			return err
		}
		bundles, err := s.hub.Bundles.List(ctx, names.WorkspaceDefault, nil)
		if err != nil {
			return err
		}
		if n := len(left.Items) + len(bundles.Items); n > 0 {
			return fmt.Errorf("%d bundles and deployments are left", n)
		}
		return nil
	})
	for _, name := range downstream() {
		harness.Eventually(t, "nothing is left on "+name, func(ctx context.Context) error { return s.nothingLeft(ctx, name) })
	}
}

func (s *killStory) nothingLeft(ctx context.Context, cluster string) error {
	core := s.clusters[cluster].CoreV1()
	secrets, err := core.Secrets(killNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	objects, err := core.ConfigMaps(killNamespace).List(ctx, metav1.ListOptions{LabelSelector: names.LabelObjectSetHash})
	if err != nil {
		return err
	}
	if n := len(secrets.Items) + len(objects.Items); n > 0 {
		return fmt.Errorf("%d objects are left", n)
	}
	return nil
}
