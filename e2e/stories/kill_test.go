package stories

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	seed          = 20260101
	// within is how long after a push the kill comes at the latest: a commit
	// that nothing disturbs is rolled out by then.
	within = 2500 * time.Millisecond
)

func downstream() []string { return []string{"downstream-1", "downstream-2"} }

// Killed at any moment of a deployment, the manager and the agents go on where
// they were: every commit arrives, every release is whole, nothing is left over.
func TestKilledAtAnyMomentEverythingConverges(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	s := newKillStory(t)
	random := rand.New(rand.NewPCG(seed, seed))
	s.push(t, "first")
	s.follow(t)
	s.awaitRound(t, "first")
	for i := range rounds {
		for _, victim := range []string{"manager", "agent/downstream-1"} {
			round := strconv.Itoa(i) + "-" + victim[:5]
			moment := time.Duration(random.Int64N(int64(within)))
			s.push(t, round)
			s.killAfter(t, victim, moment)
			s.awaitRound(t, round)
			t.Logf("round %s: %s killed %s after the push, and all is as it should be", round, victim, moment.Round(time.Millisecond))
		}
	}
	s.remove(t)
}

type killStory struct {
	hub      *kube.Hub
	clusters map[string]kubernetes.Interface
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

// push commits a plain manifest and a chart that both say the round.
func (s *killStory) push(t *testing.T, round string) {
	t.Helper()
	ctx := t.Context()
	r, err := repo.Init(ctx, flotilla.Repository(killRepo).Dir())
	if err != nil {
		t.Fatal(err)
	}
	configMap := func(name, says string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  round: %s\n", name, says)
	}
	_, err = r.Commit(ctx, repo.Change{Write: map[string]string{
		"plain/configmap.yaml":           configMap("plain", strconv.Quote(round)),
		"plain/fleet.yaml":               "defaultNamespace: " + killNamespace + "\n",
		"chart/Chart.yaml":               "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"chart/templates/configmap.yaml": configMap("chart", "{{ .Values.round | quote }}"),
		"chart/fleet.yaml":               "defaultNamespace: " + killNamespace + "\nhelm:\n  values:\n    round: " + strconv.Quote(round) + "\n",
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *killStory) follow(t *testing.T) {
	t.Helper()
	_, err := s.hub.GitRepos.Create(t.Context(), &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: names.WorkspaceDefault, Name: killRepo},
		Spec: fleet.GitRepoSpec{
			Repo: flotilla.GitURL() + "/" + killRepo + ".git", Branch: repo.DefaultBranch, Paths: []string{"plain", "chart"},
			PollingInterval: &metav1.Duration{Duration: time.Second},
			Targets:         []fleet.GitTarget{{Name: "all", ClusterSelector: &metav1.LabelSelector{}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// killAfter kills the victim at a moment and starts it again at once.
func (s *killStory) killAfter(t *testing.T, victim string, moment time.Duration) {
	t.Helper()
	select {
	case <-time.After(moment):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	if err := flotilla.Kill(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	if err := flotilla.Start(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
}

// awaitRound waits until everything is the round's: the objects on both
// clusters, the releases, and what the hub says.
func (s *killStory) awaitRound(t *testing.T, round string) {
	t.Helper()
	for _, name := range downstream() {
		harness.Eventually(t, "cluster "+name+" runs round "+round, func(ctx context.Context) error {
			return errors.Join(s.objectsAre(ctx, name, round), s.releasesAreWhole(ctx, name))
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
		if ready := gr.Status.Display.ReadyBundleDeployments; ready != "4/4" || gr.Status.Commit != head {
			return fmt.Errorf("GitRepo says %s ready at commit %s, want 4/4 at %s: %+v", ready, gr.Status.Commit, head, gr.Status.Conditions)
		}
		return nil
	})
}

func (s *killStory) objectsAre(ctx context.Context, cluster, round string) error {
	for _, name := range []string{"plain", "chart"} {
		object, err := s.clusters[cluster].CoreV1().ConfigMaps(killNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got := object.Data["round"]; got != round {
			return fmt.Errorf("ConfigMap %s is of round %q", name, got)
		}
	}
	return nil
}

// releasesAreWhole fails if a release is unfinished, or if there are more than
// the two that belong here.
func (s *killStory) releasesAreWhole(ctx context.Context, cluster string) error {
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
	if len(deployed) != 2 {
		return fmt.Errorf("releases are %v, want two", deployed)
	}
	for name, n := range deployed {
		if n != 1 {
			return fmt.Errorf("release %s is deployed %d times", name, n)
		}
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
