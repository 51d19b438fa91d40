package removals

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// world is a workspace on the hub and its clusters, whose agents run.
type world struct {
	t *testing.T
	// workspace is also the name of the namespace downstream that workloads go to.
	workspace string
	members   map[string]*member
	// objects are what bundles hold that do not hold one ConfigMap of their own name.
	objects map[string][]string
}

// member is a cluster and its agent.
type member struct {
	t          *testing.T
	key        kube.Key
	downstream *harness.Environment
	// namespace is the agent's, downstream.
	namespace string
	log       logrus.FieldLogger
	stop      func()
}

// newWorld makes the clusters of a workspace, one downstream cluster after the
// other in turn, and returns when the agent of each has announced itself.
func newWorld(t *testing.T, clusters ...string) *world {
	t.Helper()
	w := &world{t: t, workspace: hub.Workspace(t), members: map[string]*member{}, objects: map[string][]string{}}
	for i, name := range clusters {
		w.join(w.workspace, name, downstream[i%len(downstream)])
	}
	for _, m := range w.members {
		m.awaitAnnounced()
	}
	return w
}

// join makes a cluster with an agent.
func (w *world) join(workspace, name string, on *harness.Environment) *member {
	w.t.Helper()
	cluster := harness.NewCluster(workspace, name, map[string]string{"name": name, "env": "prod"})
	cluster.Spec.AgentNamespace = "agent-" + workspace + "-" + name
	m := &member{t: w.t, downstream: on, namespace: cluster.Spec.AgentNamespace, log: harness.LogOf(w.t).WithField("cluster", name)}
	m.key = harness.KeyOf(hub.ImportCluster(w.t, cluster, on))
	m.start()
	w.t.Cleanup(func() { m.stop() })
	w.members[name] = m
	return m
}

func (m *member) awaitAnnounced() {
	m.t.Helper()
	hub.Clusters.Await(m.t, m.key, func(c *fleet.Cluster) error {
		if c.Status.Agent.LastSeen.IsZero() {
			return errors.New("its agent has not announced itself")
		}
		return nil
	})
}

// start runs the agent until stop is called.
func (m *member) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	config := agent.Config{Local: m.downstream.Config, Namespace: m.namespace, AtOnce: agent.DefaultAtOnce}
	go func() { ended <- agent.Run(ctx, config, m.log) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			m.t.Errorf("the agent of %s ended: %v", m.key.Name, err)
		}
	})
}

// stopAll stops the agents, startAll starts them again.
func (w *world) stopAll() {
	for _, m := range w.members {
		m.stop()
	}
}

func (w *world) startAll() {
	for _, m := range w.members {
		m.start()
	}
}

// bundle makes a Bundle for every cluster, with a ConfigMap of its name.
func (w *world) bundle(name string, edits ...func(*fleet.Bundle)) kube.Key {
	w.t.Helper()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: w.workspace, Name: name}}
	b.Spec.Resources = []fleet.BundleResource{{Name: "configmap.yaml", Content: configMap(name, "1")}}
	b.Spec.DefaultNamespace = w.workspace
	b.Spec.Targets = []fleet.BundleTarget{everywhere()}
	for _, edit := range edits {
		edit(b)
	}
	return harness.KeyOf(hub.Bundles.Make(w.t, b))
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  key: %q\n", name, value)
}

func everywhere() fleet.BundleTarget {
	return fleet.BundleTarget{Name: "everywhere", ClusterSelector: &metav1.LabelSelector{}}
}

func only(clusters ...string) func(*fleet.Bundle) {
	return func(b *fleet.Bundle) {
		b.Spec.Targets = nil
		for _, name := range clusters {
			b.Spec.Targets = append(b.Spec.Targets, fleet.BundleTarget{Name: name, ClusterName: name})
		}
	}
}

func labelled(value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"env": value}}
}

func (w *world) key(name string) kube.Key { return kube.Key{Namespace: w.workspace, Name: name} }

func (w *world) relabel(cluster, value string) {
	w.t.Helper()
	hub.Clusters.Edit(w.t, w.key(cluster), func(c *fleet.Cluster) { c.Labels["env"] = value })
}

// names returns the names of all clusters.
func (w *world) names() []string { return slices.Sorted(maps.Keys(w.members)) }

// repository is a git repository whose folders become bundles of the GitRepo
// "shop": folder web becomes the bundle shop-web, with a ConfigMap of that name.
func (w *world) repository(folders ...string) (*harness.Repository, kube.Key) {
	w.t.Helper()
	r := harness.GitRepository(w.t)
	files := map[string]string{}
	for _, folder := range folders {
		maps.Copy(files, w.folder(folder, folder))
	}
	r.Push(w.t, repo.Change{Write: files})
	gitRepo := harness.NewGitRepo(w.workspace, "shop", r, func(gr *fleet.GitRepo) { gr.Spec.Paths = []string{"*"} })
	return r, harness.KeyOf(hub.GitRepos.Make(w.t, gitRepo))
}

// folder returns the files of a folder with a ConfigMap for each name.
func (w *world) folder(folder string, names ...string) map[string]string {
	manifests := make([]string, 0, len(names))
	for _, name := range names {
		manifests = append(manifests, configMap("shop-"+name, "1"))
	}
	return map[string]string{
		folder + "/fleet.yaml":     "defaultNamespace: " + w.workspace + "\n",
		folder + "/configmap.yaml": strings.Join(manifests, "---\n"),
	}
}
