package nodes

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/dev/node"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const (
	webNamespace = "web"
	webLabels    = "app=web"
	webPods      = 2
	gitRepoName  = "shop"
	polling      = time.Second
)

// workload is a repository with a deployment, whose pods say which version they are of.
type workload struct {
	repository *repo.Repository
	url        string
}

func newWorkload(t *testing.T, host string) *workload {
	t.Helper()
	dir := t.TempDir()
	repository, err := repo.Init(t.Context(), filepath.Join(dir, gitRepoName+".git"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := gitserver.Start(gitserver.Options{Dir: dir, Address: host + ":0", Wider: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return &workload{repository: repository, url: server.URL() + "/" + gitRepoName + ".git"}
}

// push commits a version and returns the commit.
func (w *workload) push(t *testing.T, version string) string {
	t.Helper()
	commit, err := w.repository.Commit(t.Context(), repo.Change{Message: version, Write: map[string]string{
		"web/fleet.yaml": "namespace: " + webNamespace + "\n",
		"web/web.yaml":   fmt.Sprintf(webManifest, webPods, node.SandboxImage, version),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return commit
}

const webManifest = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: %s
        imagePullPolicy: Never
        args: [--http, ":8080", --say, %s]
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
`

func onCluster(name string) []fleet.GitTarget { return []fleet.GitTarget{{ClusterName: name}} }

func everywhere() []fleet.GitTarget {
	return []fleet.GitTarget{{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}}
}

// deploy makes a GitRepo for all clusters of production.
func (s *story) deploy(t *testing.T) {
	began := time.Now()
	commit := s.work.push(t, "v1")
	_, err := s.hub.fleet.GitRepos.Create(t.Context(), &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: names.WorkspaceDefault, Name: gitRepoName},
		Spec: fleet.GitRepoSpec{
			Repo: s.work.url, Branch: repo.DefaultBranch, PollingInterval: &metav1.Duration{Duration: polling}, Targets: everywhere(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.awaitVersion(t, s.hub, "v1")
	s.awaitVersion(t, s.edge, "v1")
	s.awaitGitRepo(t, commit)
	t.Logf("the pods of both clusters are ready %s after the GitRepo was made", time.Since(began).Round(100*time.Millisecond))
}

// commit pushes a version, and returns what waits until it runs on clusters.
func (s *story) commit(t *testing.T, version string) (await func(t *testing.T, clusters ...*cluster)) {
	t.Helper()
	s.work.push(t, version)
	began := time.Now()
	return func(t *testing.T, clusters ...*cluster) {
		t.Helper()
		for _, c := range clusters {
			s.awaitVersion(t, c, version)
			t.Logf("%s runs %s %s after it was pushed", c.Name(), version, time.Since(began).Round(100*time.Millisecond))
		}
	}
}

// awaitVersion returns the pods of a cluster when they are ready, and of a version as they say themselves.
func (s *story) awaitVersion(t *testing.T, c *cluster, version string) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	harness.Eventually(t, c.Name()+" runs "+version, func(ctx context.Context) (err error) {
		if pods, err = c.pods(ctx, webNamespace, webLabels); err != nil {
			return err
		}
		if len(pods) != webPods || !allReady(pods) {
			return fmt.Errorf("the pods are %s", stateOf(pods))
		}
		for _, pod := range pods {
			if text, err := c.logs(ctx, pod); err != nil || !strings.Contains(text, "says "+version) {
				return fmt.Errorf("pod %s says %q, %w", pod.Name, text, err)
			}
		}
		return nil
	})
	return pods
}

// awaitGitRepo returns when the hub says that a commit is ready everywhere.
func (s *story) awaitGitRepo(t *testing.T, commit string) {
	t.Helper()
	harness.Eventually(t, "the GitRepo is ready", func(ctx context.Context) error {
		gitRepo, err := s.hub.fleet.GitRepos.Get(ctx, names.WorkspaceDefault, gitRepoName)
		if err != nil {
			return err
		}
		if gitRepo.Status.Commit != commit || !isReady(gitRepo.Status.Conditions) {
			return fmt.Errorf("commit %s, conditions %v", gitRepo.Status.Commit, gitRepo.Status.Conditions)
		}
		return nil
	})
}

func (s *story) setTargets(t *testing.T, targets []fleet.GitTarget) {
	t.Helper()
	key := kube.Key{Namespace: names.WorkspaceDefault, Name: gitRepoName}
	harness.Eventually(t, "the targets are edited", func(ctx context.Context) error {
		before, err := s.hub.fleet.GitRepos.Get(ctx, key.Namespace, key.Name)
		if err != nil {
			return err
		}
		after := before.DeepCopy()
		after.Spec.Targets = targets
		_, err = s.hub.fleet.GitRepos.Patch(ctx, before, after)
		return err
	})
}

// running returns what runs of the workload on a cluster, in a form that compares.
func (s *story) running(t *testing.T, c *cluster) string {
	t.Helper()
	return lives(c.awaitPods(t, webNamespace, webLabels, webPods))
}

// editTargets takes the workload off one cluster, and brings it back.
func (s *story) editTargets(t *testing.T) {
	before := s.running(t, s.hub)
	began := time.Now()
	s.setTargets(t, onCluster("prod-2"))
	s.edge.awaitPods(t, webNamespace, webLabels, 0)
	t.Logf("the pods are gone %s after the targets were edited", time.Since(began).Round(100*time.Millisecond))
	harness.Eventually(t, "the release is gone", func(ctx context.Context) error {
		left, err := s.edge.client.CoreV1().Secrets(webNamespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("there are %d records", len(left.Items))
		}
		return err
	})
	harness.Eventually(t, "nothing is being removed", func(context.Context) error {
		if out := s.shell(t, s.hub, "flotilla gc list -A -o json"); strings.Contains(out, `"prod-1"`) {
			return fmt.Errorf("flotilla gc list says %s", out)
		}
		return nil
	})
	if after := s.running(t, s.hub); after != before {
		t.Errorf("the pods of the cluster that still matches were touched: %s, then %s", before, after)
	}
	s.setTargets(t, everywhere())
	s.awaitVersion(t, s.edge, "v1")
}
