// Package registrations tests how clusters join by themselves: the real manager and the real agent, against a real API server.
package registrations

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	"github.com/flotilla-gitops/flotilla/pkg/agent/registration"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{Manager: true}, func(e *harness.Environment) { env = e }))
}

// token makes a ClusterRegistrationToken and returns the values of its Secret.
func token(t *testing.T, workspace, name string, edits ...func(*fleet.ClusterRegistrationToken)) map[string]string {
	t.Helper()
	made := &fleet.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}}
	for _, edit := range edits {
		edit(made)
	}
	env.ClusterRegistrationTokens.Make(t, made)
	return env.JoinValues(t, workspace, name)
}

func validFor(d time.Duration) func(*fleet.ClusterRegistrationToken) {
	return func(token *fleet.ClusterRegistrationToken) { token.Spec.TTL = &metav1.Duration{Duration: d} }
}

// downstream is a namespace that stands for a cluster with an agent.
type downstream struct {
	t         *testing.T
	namespace string
	client    kubernetes.Interface
}

func newDownstream(t *testing.T) *downstream {
	t.Helper()
	made, err := env.Kubernetes.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "downstream-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = env.Kubernetes.CoreV1().Namespaces().Delete(context.Background(), made.Name, metav1.DeleteOptions{})
	})
	return &downstream{t, made.Name, env.Kubernetes}
}

// bootstrap writes what the chart of the agent makes of values.
func (d *downstream) bootstrap(values map[string]string, more map[string]string) {
	d.t.Helper()
	data := maps.Clone(values)
	maps.Copy(data, more)
	secrets := d.client.CoreV1().Secrets(d.namespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: names.SecretAgentBootstrap}, StringData: data}
	_, err := secrets.Create(d.t.Context(), secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(d.t.Context(), secret, metav1.UpdateOptions{})
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// start runs the agent until the test ends or the returned function is called.
func (d *downstream) start() (stop func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	log := harness.LogOf(d.t)
	go func() {
		defer close(ended)
		if err := agent.Run(ctx, agent.Config{Local: env.Config, Namespace: d.namespace, AtOnce: 2}, log); err != nil {
			log.WithError(err).Error("The agent ended")
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	d.t.Cleanup(stop)
	return stop
}

// register asks once, as the agent would, and returns what comes of it.
func (d *downstream) register() error {
	d.t.Helper()
	secret, err := d.client.CoreV1().Secrets(d.namespace).Get(d.t.Context(), names.SecretAgentBootstrap, metav1.GetOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	b, err := registration.Read(secret)
	if err != nil {
		d.t.Fatal(err)
	}
	registrar := &registration.Registrar{Local: d.client, Namespace: d.namespace}
	_, err = registrar.Register(d.t.Context(), b)
	return err
}

func awaitReady(t *testing.T, key kube.Key) *fleet.Cluster {
	t.Helper()
	return env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		if c.Status.Agent.LastSeen.IsZero() {
			return fmt.Errorf("the agent has not reported")
		}
		for _, condition := range c.Status.Conditions {
			if condition.Type == fleet.ConditionReady && condition.Status == metav1.ConditionTrue {
				return nil
			}
		}
		return errors.New("not ready")
	})
}
