// Package skew tests hub and agents of different versions: the previous version's agent with this manager, the reverse, and a
// hub that is upgraded while everything runs.
package skew

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/dev/skew"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

func previous(t *testing.T) skew.Programs {
	t.Helper()
	programs, err := skew.Ensure(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return programs
}

// run runs a program until the test ends or the returned function is called. What it says is shown if the test fails.
func run(t *testing.T, program string, args ...string) (stop func()) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(program)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), program, append(args, "--kubeconfig", env.ControlPlane.Kubeconfig(), "--metrics-address=")...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended: %v", filepath.Base(program), err)
		}
	}
	t.Cleanup(func() {
		stop()
		if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s of the previous version said:\n%s", filepath.Base(program), said)
		}
		log.Close()
	})
	return stop
}

func runManager(t *testing.T, programs skew.Programs) (stop func()) {
	t.Helper()
	args := []string{
		"--leader-elect=false", "--data-dir", t.TempDir(), "--agent-api-server-url", env.ControlPlane.URL(), "--agent-image", "flotilla-agent:test",
	}
	const webhooks = "--webhook-address"
	help, err := exec.CommandContext(t.Context(), programs.Manager, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(help, []byte(webhooks)) {
		args = append(args, webhooks+"=")
	}
	return run(t, programs.Manager, args...)
}

// story is a GitRepo on one cluster.
type story struct {
	*testing.T
	repository *harness.Repository
	gitRepo    kube.Key
	cluster    kube.Key
}

// begin imports a cluster and deploys to it. Manager and agent run already.
func begin(t *testing.T) *story {
	t.Helper()
	s := &story{T: t, repository: harness.GitRepository(t)}
	workspace := env.Workspace(t)
	s.cluster = harness.KeyOf(env.ImportCluster(t, harness.NewCluster(workspace, "c1", map[string]string{"env": "dev"}), env))
	s.push("one")
	s.gitRepo = harness.KeyOf(env.GitRepos.Make(t, harness.NewGitRepo(workspace, "shop", s.repository)))
	s.runs("one")
	return s
}

func (s *story) push(text string) {
	s.Helper()
	s.repository.Push(s, repo.Change{Write: map[string]string{
		"app/fleet.yaml": "namespace: default\nhelm: {values: {a: b}}\n",
		"app/cm.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {text: " + text + "}\n",
	}})
}

// runs waits until the workload is what was pushed, and the hub says so.
func (s *story) runs(text string) {
	s.Helper()
	harness.Eventually(s, "the workload is "+text, func(ctx context.Context) error {
		cm, err := env.Kubernetes.CoreV1().ConfigMaps("default").Get(ctx, "shop", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if cm.Data["text"] != text {
			return fmt.Errorf("it is %q", cm.Data["text"])
		}
		return nil
	})
	env.GitRepos.Await(s, s.gitRepo, func(r *fleet.GitRepo) error {
		if r.Status.ReadyClusters != 1 || r.Status.DesiredReadyClusters != 1 {
			return fmt.Errorf("%d of %d clusters are ready", r.Status.ReadyClusters, r.Status.DesiredReadyClusters)
		}
		return nil
	})
	env.GitRepos.AwaitReady(s, s.gitRepo)
}

// end takes the deployment away: off the cluster first, then anew, then with the GitRepo.
func (s *story) end() {
	s.Helper()
	gone := func(ctx context.Context) error {
		_, err := env.Kubernetes.CoreV1().ConfigMaps("default").Get(ctx, "shop", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	}
	text := "two"
	s.push(text)
	s.runs(text)
	env.Clusters.Edit(s, s.cluster, func(c *fleet.Cluster) { c.Labels["env"] = "prod" })
	env.GitRepos.Edit(s, s.gitRepo, func(r *fleet.GitRepo) {
		r.Spec.Targets = []fleet.GitTarget{{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "dev"}}}}
	})
	harness.Eventually(s, "the workload is off the cluster", gone)
	env.GitRepos.Edit(s, s.gitRepo, func(r *fleet.GitRepo) { r.Spec.Targets = []fleet.GitTarget{{ClusterSelector: &metav1.LabelSelector{}}} })
	s.runs(text)
	env.GitRepos.Remove(s, s.gitRepo)
	harness.Eventually(s, "the workload is gone", gone)
	env.BundleDeployments.AwaitGone(s, s.deployment())
}

func (s *story) deployment() kube.Key {
	return kube.Key{Namespace: names.ClusterNamespace(s.cluster.Namespace, s.cluster.Name), Name: "shop-app"}
}

// Agents are upgraded after their hub: those of the previous version work with it.
func TestPreviousAgentWithThisManager(t *testing.T) {
	harness.Long(t)
	programs := previous(t)
	env.StartManager(t, nil)
	run(t, programs.Agent)
	begin(t).end()
}

// A hub that was set back to the previous version works with agents that are newer.
func TestThisAgentWithThePreviousManager(t *testing.T) {
	harness.Long(t)
	runManager(t, previous(t))
	env.StartAgent(t)
	begin(t).end()
}

// An upgrade of the hub, and then of the agent, deploys nothing again.
func TestUpgradeRedeploysNothing(t *testing.T) {
	harness.Long(t)
	programs := previous(t)
	stopManager := runManager(t, programs)
	stopAgent := run(t, programs.Agent)
	s := begin(t)
	env.AwaitQuiet(t)
	before, err := env.BundleDeployments.Get(t.Context(), s.deployment().Namespace, s.deployment().Name)
	if err != nil {
		t.Fatal(err)
	}
	stopManager()
	env.StartManager(t, nil)
	env.AwaitQuiet(t)
	stopAgent()
	env.StartAgent(t)
	env.AwaitQuiet(t)
	after, err := env.BundleDeployments.Get(t.Context(), s.deployment().Namespace, s.deployment().Name)
	if err != nil {
		t.Fatal(err)
	}
	if before.UID != after.UID || before.Generation != after.Generation || before.Status.Release != after.Status.Release {
		t.Errorf("the upgrade has changed the deployment: %d %s, then %d %s",
			before.Generation, before.Status.Release, after.Generation, after.Status.Release)
	}
	s.end()
}
