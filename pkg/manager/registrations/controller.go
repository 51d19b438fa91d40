// Package registrations lets clusters join by themselves.
//
// A ClusterRegistrationToken becomes a Secret with the Helm values of an agent, a join token among them: a token of the
// service account flotilla-join of the workspace, bound to that Secret, that may create ClusterRegistrations and nothing
// else. An agent that creates one is answered in a Secret whose name only it can compute: with the place of its Cluster
// and a token for that, or with the reason why not. Each registration is answered once.
//
// The controller deletes nothing: the garbage collector takes away what has expired or was answered.
package registrations

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/joining"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// Deps is what the controller needs.
type Deps struct {
	Hub      *kube.Hub
	Recorder kube.Recorder
	Log      logrus.FieldLogger
	Clock    clock.PassiveClock
	// Agents is the address of the hub for agents; that of Hub where it is empty.
	Agents kube.Address
	// Secrets tells which Secrets of tokens have changed.
	Secrets Changes
	// AgentImage is the image of agents that join.
	AgentImage string
	// Namespace is that of the manager.
	Namespace string
	// MaxTokenTTL bounds how long join tokens are valid; zero is no bound.
	MaxTokenTTL time.Duration
	// IgnoreLabels has the labels that agents bring along ignored.
	IgnoreLabels bool
	// Observe is told of every reconcile.
	Observe func(controller string) func(time.Duration, error)
}

// Changes tells of objects that have appeared, changed or gone.
type Changes interface {
	OnChange(f func(kube.Key))
}

type controller struct {
	Deps
	hub           kube.Applier
	registrations generic.CacheInterface[*fleet.ClusterRegistration]
	tokens        generic.CacheInterface[*fleet.ClusterRegistrationToken]
	clusters      generic.CacheInterface[*fleet.Cluster]
	namespaces    generic.CacheInterface[*corev1.Namespace]

	answers, issues *kube.Queue

	mu sync.Mutex
	// prepared says that what all registrations share is in place.
	prepared bool
}

// answerWorkers mostly wait for the API server: a fleet may join at once.
const answerWorkers = 16

// Register prepares the controller; it works until ctx ends once the returned function is called. That must not be
// before every cache is synced.
func Register(deps Deps) (run func(ctx context.Context)) {
	deps.Agents = deps.Agents.Or(kube.AddressOf(deps.Hub.Config))
	c := &controller{
		Deps: deps,
		// Hub has clients of this very configuration, so another cannot fail.
		hub:           kube.Applier{Client: dynamic.NewForConfigOrDie(deps.Hub.Config)},
		registrations: deps.Hub.ClusterRegistrations.Cache(),
		tokens:        deps.Hub.ClusterRegistrationTokens.Cache(),
		clusters:      deps.Hub.Clusters.Cache(),
		namespaces:    deps.Hub.Namespaces.Cache(),
	}
	c.answers = c.queue("registrations", answerWorkers, c.answer)
	c.issues = c.queue("registrations-tokens", 2, c.issue)
	c.wake()
	return func(ctx context.Context) {
		var queues sync.WaitGroup
		for _, q := range []*kube.Queue{c.answers, c.issues} {
			queues.Go(func() { q.Run(ctx) })
		}
		queues.Wait()
	}
}

func (c *controller) queue(name string, workers int, reconcile kube.Reconcile) *kube.Queue {
	return kube.NewQueue(kube.QueueOptions{
		Name: name, Workers: workers, Reconcile: reconcile, Log: c.Log, Observe: c.Observe(name), MaxBackoff: time.Minute,
	})
}

// answer brings a registration one step closer to its answer. Every further step is woken by the event of the one before.
func (c *controller) answer(ctx context.Context, key kube.Key) (time.Duration, error) {
	registration, err := c.registrations.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading registration: %w", err)
	}
	if registration.DeletionTimestamp != nil || answered(registration) {
		return 0, nil
	}
	f, err := c.observe(ctx, registration)
	if err != nil {
		return 0, err
	}
	return 0, c.act(ctx, f, f.Decide())
}

// issue makes the Secret of a join token, and renews the token in time. It returns after how much time that is due.
func (c *controller) issue(ctx context.Context, key kube.Key) (time.Duration, error) {
	token, err := c.tokens.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading registration token: %w", err)
	}
	now := c.Clock.Now()
	life := joining.LifeOf(token, c.MaxTokenTTL, now)
	if token.DeletionTimestamp != nil || life.Over {
		return 0, nil
	}
	if err := c.prepare(ctx); err != nil {
		return 0, err
	}
	if err := c.allowJoining(ctx, token.Namespace); err != nil {
		return 0, err
	}
	due, err := c.ensureValues(ctx, token, life, now)
	return due, c.reportToken(ctx, token, life, err)
}
