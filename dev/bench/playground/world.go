// Package playground measures changes on the playground that `make up` started: real agents, real clusters, a real git server.
package playground

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

const (
	workspace = names.WorkspaceDefault
	repoName  = "bench"
	configMap = "bench"
	namespace = "bench"
	// patience is how long one step of a round may take before the bench
	// gives up: it bounds failures on busy machines, no figure.
	patience = 2 * time.Minute
)

// Settings of a measurement.
type Settings struct {
	// Dir is the folder of the playground.
	Dir string
	// Rounds is how often each change is made.
	Rounds int
	// Polling is the pollingInterval of the GitRepo that Commit pushes to.
	Polling time.Duration
	// Bundles is how many bundles Away takes away.
	Bundles int
	// Webhook has Commit deliver its pushes to the manager, which never polls.
	Webhook bool
	// Progress shows how far Away is.
	Progress *progress.Printer
}

// downstream are the clusters that are measured.
func downstream() []string { return []string{"downstream-1", "downstream-2"} }

// world is the playground as the bench sees it.
type world struct {
	Settings
	hub      *kube.Hub
	clusters map[string]*kube.Kind[*corev1.ConfigMap, *corev1.ConfigMapList]
	repo     *repo.Repository
	log      *timeline
	// workloads names the ConfigMaps that are deployed.
	workloads []string
}

// run prepares the playground, measures, and takes away what it has made.
func (s Settings) run(ctx context.Context, measure func(context.Context, *world) (*figures.Report, error)) (*figures.Report, error) {
	// Also after an interrupt: what the bench has made must not stay, and watches tell when it is gone.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	interrupted := context.AfterFunc(ctx, stop)
	w, err := s.open(watching)
	interrupted()
	if err != nil {
		return nil, err
	}
	report, err := measure(ctx, w)
	return report, errors.Join(err, w.remove(watching))
}

func (s Settings) open(ctx context.Context) (*world, error) {
	w := &world{Settings: s, clusters: map[string]*kube.Kind[*corev1.ConfigMap, *corev1.ConfigMapList]{}, log: newTimeline(), workloads: []string{configMap}}
	conn, err := s.connect("hub")
	if err != nil {
		return nil, err
	}
	w.hub = kube.NewHub(conn)
	w.watchHub()
	if err := conn.Start(ctx); err != nil {
		return nil, err
	}
	for _, name := range downstream() {
		if err := w.watchCluster(ctx, name); err != nil {
			return nil, err
		}
	}
	if w.repo, err = repo.Init(ctx, filepath.Join(s.Dir, "git", repoName+".git")); err != nil {
		return nil, err
	}
	return w, nil
}

// glance is how soon an API server that was away is seen to be back.
const glance = 100 * time.Millisecond

func (s Settings) connect(cluster string) (*kube.Connection, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(s.Dir, "clusters", cluster, "kubeconfig"))
	if err != nil {
		return nil, fmt.Errorf("%w (is the playground up? make up)", err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	// What is measured must not wait for those who look.
	return kube.Connect(config, kube.Options{UserAgent: "flotilla-bench", LongestReconnect: glance, Log: log})
}

// watchDeployments notes when deployments come and go, and their states.
func watchDeployments(hub *kube.Hub, log *timeline) {
	hub.BundleDeployments.OnEvent(func(e kube.Event[*fleet.BundleDeployment]) {
		bd := e.Object()
		if bd.Labels[names.LabelRepoName] != repoName {
			return
		}
		state := "there"
		switch {
		case e.New == nil:
			state = "gone"
		case bd.DeletionTimestamp != nil:
			state = "removing"
		}
		cluster := bd.Labels[names.LabelCluster]
		log.set("deployment/"+bd.Name+"/"+cluster, state)
		if e.New != nil {
			log.set("state/"+bd.Name+"/"+cluster, string(status.DeploymentState(bd)))
		}
	})
}

// deploymentOf is what the log calls the deployment of a folder on a cluster.
func deploymentOf(folder, cluster string) string {
	return "deployment/" + names.Bundle(repoName, folder) + "/" + cluster
}

// watchHub notes when deployments come and go and what the counts say.
func (w *world) watchHub() {
	watchDeployments(w.hub, w.log)
	w.hub.GitRepos.OnEvent(func(e kube.Event[*fleet.GitRepo]) {
		if e.New != nil && e.New.Name == repoName {
			w.log.set("gitrepo", e.New.Status.Display.ReadyBundleDeployments)
			w.log.set("commit", e.New.Status.Commit)
		}
	})
	w.hub.Bundles.OnEvent(func(e kube.Event[*fleet.Bundle]) {
		if e.New != nil && e.New.Labels[names.LabelRepoName] == repoName {
			w.log.set("bundle", e.New.Status.Display.ReadyClusters)
			w.log.set("modified/"+e.New.Name, strconv.Itoa(e.New.Status.Summary.Modified))
		}
	})
}

// watchCluster notes what the workload of one cluster is.
func (w *world) watchCluster(ctx context.Context, cluster string) error {
	conn, err := w.connect(cluster)
	if err != nil {
		return err
	}
	kind := kube.NewKind[*corev1.ConfigMap, *corev1.ConfigMapList](conn, kube.Resource{
		GVK: corev1.SchemeGroupVersion.WithKind("ConfigMap"), Plural: "configmaps", Namespaced: true,
	})
	kind.OnEvent(func(e kube.Event[*corev1.ConfigMap]) {
		if o := e.Object(); o.Namespace == namespace {
			state := "gone"
			if e.New != nil {
				state = e.New.Data["round"]
			}
			w.log.set(workloadOn(cluster, o.Name), state)
		}
	})
	w.clusters[cluster] = kind
	return conn.Start(ctx)
}

// workloadOn is what the log calls a ConfigMap of a cluster.
func workloadOn(cluster, name string) string { return "workload/" + cluster + "/" + name }

// push commits a workload that says which round it belongs to.
func (w *world) push(ctx context.Context, round string) (string, error) {
	return w.repo.Commit(ctx, repo.Change{Message: "Round " + round, Write: map[string]string{
		"configmap.yaml": manifest(configMap, round),
		"fleet.yaml":     "defaultNamespace: " + namespace + "\n",
	}})
}

func manifest(name, round string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: %s\ndata:\n  round: %q\n", name, namespace, round)
}

// create makes the GitRepo, or edits its targets.
func (w *world) create(ctx context.Context, polling time.Duration) error {
	url, err := os.ReadFile(filepath.Join(w.Dir, "git", "url"))
	if err != nil {
		return fmt.Errorf("%w (is the playground up? make up)", err)
	}
	_, err = w.hub.GitRepos.Create(ctx, &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Name: repoName, Namespace: workspace},
		Spec: fleet.GitRepoSpec{
			Repo: strings.TrimSpace(string(url)) + "/" + repoName + ".git", Branch: repo.DefaultBranch,
			PollingInterval: &metav1.Duration{Duration: polling}, DisablePolling: w.Webhook, Targets: everywhere(),
		},
	})
	return err
}

func everywhere() []fleet.GitTarget {
	return []fleet.GitTarget{{Name: "all", ClusterSelector: &metav1.LabelSelector{}}}
}

func only(cluster string) []fleet.GitTarget {
	return []fleet.GitTarget{{Name: "one", ClusterName: cluster}}
}

// target edits the targets and nothing else.
func (w *world) target(ctx context.Context, targets []fleet.GitTarget) error {
	return w.onLatest(ctx, func(before *fleet.GitRepo) error {
		after := before.DeepCopy()
		after.Spec.Targets = targets
		_, err := w.hub.GitRepos.Patch(ctx, before, after)
		return err
	})
}

// onLatest does something to the GitRepo, again if its status was written meanwhile.
func (w *world) onLatest(ctx context.Context, do func(*fleet.GitRepo) error) error {
	for {
		latest, err := w.hub.GitRepos.Get(ctx, workspace, repoName)
		if err != nil {
			return err
		}
		if err := do(latest); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// remove takes the GitRepo away and waits until nothing of it is left.
func (w *world) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := w.onLatest(ctx, func(gr *fleet.GitRepo) error { return w.hub.GitRepos.Delete(ctx, gr) })
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, cluster := range downstream() {
		for _, name := range w.workloads {
			if _, err := w.log.await(ctx, workloadOn(cluster, name), "gone", ""); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(w.repo.Dir())
}
