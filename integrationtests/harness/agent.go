package harness

import (
	"context"
	"os"
	"testing"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Agent is the real agent, running in the process of the test. It learns how to reach the hub from the Secret that the
// manager puts into its cluster, and waits for it.
type Agent struct {
	config agent.Config
	log    logrus.FieldLogger
	run    *running
}

// ImportCluster makes a Cluster that the manager imports with the downstream's kubeconfig, as a user would. The hub may be its own
// downstream.
func (e *Environment) ImportCluster(t testing.TB, cluster *fleet.Cluster, downstream *Environment) *fleet.Cluster {
	t.Helper()
	kubeconfig, err := os.ReadFile(downstream.ControlPlane.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	secret := e.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: cluster.Name + "-kubeconfig"},
		Data:       map[string][]byte{names.KeyImportKubeconfig: kubeconfig},
	})
	cluster.Spec.KubeConfigSecret = secret.Name
	return e.Clusters.Make(t, cluster)
}

// StartAgent runs the agent of a downstream cluster until the test ends; a test that fails shows its log. One downstream has one
// agent, so tests that start one do not run in parallel. Edits change how it is started.
func (e *Environment) StartAgent(t testing.TB, edits ...func(*agent.Config)) *Agent {
	t.Helper()
	if !e.inhabited.TryLock() {
		t.Fatal("an agent is running already")
	}
	t.Cleanup(e.inhabited.Unlock)
	return e.StartAgentBeside(t, edits...)
}

// StartAgentBeside runs one more agent beside that of StartAgent. What keeps the two apart is for the test to say.
func (e *Environment) StartAgentBeside(t testing.TB, edits ...func(*agent.Config)) *Agent {
	t.Helper()
	a := &Agent{
		config: agent.Config{Local: e.Config, Namespace: agent.DefaultNamespace, AtOnce: agent.DefaultAtOnce},
		log:    LogOf(t),
	}
	for _, edit := range edits {
		edit(&a.config)
	}
	a.Start()
	t.Cleanup(func() { a.Stop(t) })
	return a
}

// Start starts an agent that was stopped.
func (a *Agent) Start() {
	a.run = start(func(ctx context.Context) error { return agent.Run(ctx, a.config, a.log) })
}

// Stop ends the agent as a signal would, and returns when it is gone. It does nothing to one that was stopped before.
func (a *Agent) Stop(t testing.TB) {
	t.Helper()
	if err := a.run.stop(); err != nil {
		t.Errorf("the agent ended: %v", err)
	}
}
