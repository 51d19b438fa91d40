// Package agent wires together what runs in a downstream cluster.
//
// The agent learns from a Secret in its own cluster how to reach the hub. With
// that it holds one session: a connection to the hub that watches the
// deployments of the cluster's namespace and nothing else, the controller that
// runs them, and a heartbeat. A new token takes effect in the running session;
// another hub or another cluster begins a new one. While the hub is away the
// session stays: what runs goes on running, and what is to be told is told
// when the hub is back.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/flotilla-gitops/flotilla/pkg/agent/heartbeat"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// Config is what the agent is started with.
type Config struct {
	// Local is how the agent reaches the API server of its own cluster.
	Local *rest.Config
	// Namespace is the agent's own: its Secret and the service accounts that it acts as are in it.
	Namespace string
	// LeaderElection has the agent wait, ready, while another one of its namespace works.
	LeaderElection bool
	// Identity names this process among those that may work; the name of its host where empty.
	Identity string
	// Managed lets the hub decide what the Deployment of this agent is.
	Managed bool
	// MetricsAddress is where /metrics, /healthz and /readyz are served; empty serves nothing.
	MetricsAddress string
	// DebugEndpoints serves profiles of the agent at MetricsAddress, too, below /debug/pprof/. Whoever reaches them can
	// slow the agent down.
	DebugEndpoints bool
	// AtOnce is how many deployments are worked on at once; 1 to MaxAtOnce.
	AtOnce int
	// RequireServiceAccount refuses deployments that would be handled as the agent itself: they have to name a service
	// account of the agent's namespace, unless there is the default one.
	RequireServiceAccount bool
	// Heartbeat is the time between two renewals of the agent's Lease on the hub; 0 for the default, else 5 s to 1 min.
	Heartbeat time.Duration
	// LongestRetry is the longest wait between two attempts at a deployment that fails; 0 for the default.
	LongestRetry time.Duration
	// LongestReconnect is the longest wait between two attempts to begin a session with the hub, or to watch it while it does
	// not answer; 0 for the default.
	LongestReconnect time.Duration
	// RenderTimeout is how long the templates of a chart may take; 0 for the default.
	RenderTimeout time.Duration
}

// Defaults and bounds of Config.
const (
	DefaultNamespace        = names.NamespaceSystem
	DefaultAtOnce           = 16
	MaxAtOnce               = 256
	DefaultHeartbeat        = heartbeat.Period
	DefaultLongestRetry     = 5 * time.Minute
	DefaultLongestReconnect = 30 * time.Second
	DefaultRenderTimeout    = release.DefaultRenderTimeout

	shortestHeartbeat = 5 * time.Second
	// longestLocalReconnect is short: few others ask the agent's own cluster.
	longestLocalReconnect = 5 * time.Second
)

// check says what of the configuration cannot be, by the name of the flag.
func (c *Config) check() error {
	var wrong []error
	refuse := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	refuse(c.AtOnce >= 1 && c.AtOnce <= MaxAtOnce, "concurrency is %d: it must be 1 to %d", c.AtOnce, MaxAtOnce)
	refuse(c.Heartbeat >= shortestHeartbeat && c.Heartbeat <= heartbeat.Period,
		"heartbeat-interval is %s: it must be %s to %s, or the hub takes the agent for away", c.Heartbeat, shortestHeartbeat, heartbeat.Period)
	refuse(c.LongestRetry >= time.Second, "retry-max is %s: it must be at least 1s", c.LongestRetry)
	refuse(c.LongestReconnect >= time.Second, "reconnect-max is %s: it must be at least 1s", c.LongestReconnect)
	refuse(c.RenderTimeout >= time.Second, "render-timeout is %s: it must be at least 1s", c.RenderTimeout)
	return errors.Join(wrong...)
}

// complete sets defaults where nothing is said.
func (c *Config) complete() {
	setDefault(&c.AtOnce, DefaultAtOnce)
	setDefault(&c.Heartbeat, DefaultHeartbeat)
	setDefault(&c.LongestRetry, DefaultLongestRetry)
	setDefault(&c.LongestReconnect, DefaultLongestReconnect)
	setDefault(&c.RenderTimeout, DefaultRenderTimeout)
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// agent is a running agent.
type agent struct {
	config  Config
	log     logrus.FieldLogger
	local   *rest.Config
	metrics *metrics
	session atomic.Pointer[session]
	joining *joining
	// newest are the credentials that were read last.
	newest atomic.Pointer[credentials]
	// rehearsed says that the hub has answered an agent that waits for its turn.
	rehearsed atomic.Bool
}

// Run runs the agent until ctx ends.
func Run(ctx context.Context, config Config, log logrus.FieldLogger) error {
	config.complete()
	if err := config.check(); err != nil {
		return err
	}
	local := rest.CopyConfig(config.Local)
	// The API server's priority and fairness decides.
	local.QPS, local.Burst = -1, 0
	local.UserAgent = "flotilla-agent"
	local = kube.Reconnecting(local, longestLocalReconnect, log)
	a := &agent{config: config, log: log, local: local}
	a.metrics = newMetrics(a)

	group, ctx := errgroup.WithContext(ctx)
	if config.MetricsAddress != "" {
		group.Go(func() error { return a.serve(ctx) })
	}
	client, err := kubernetes.NewForConfig(local)
	if err != nil {
		return fmt.Errorf("making client for the agent's cluster: %w", err)
	}
	a.joining = newJoining(client, config.Namespace, log)
	updates, err := a.watchCredentials(ctx, client)
	if err != nil {
		return err
	}
	if config.LeaderElection {
		group.Go(func() error { return a.takeTurns(ctx, client, updates) })
	} else {
		group.Go(func() error { return a.work(ctx, updates) })
	}
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// work joins a hub and acts for it until ctx ends.
func (a *agent) work(ctx context.Context, updates <-chan *credentials) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.joining.run(ctx) })
	group.Go(func() error { return a.supervise(ctx, updates) })
	return group.Wait()
}

// watchCredentials sends the credentials in the agent's Secret, and again
// whenever they change. While there is no Secret, or it cannot be used, what
// was read before goes on being used.
func (a *agent) watchCredentials(ctx context.Context, client kubernetes.Interface) (<-chan *credentials, error) {
	informer := secretInformer(client, a.config.Namespace, names.SecretAgent)
	log := a.log.WithFields(logrus.Fields{"namespace": a.config.Namespace, "secret": names.SecretAgent})
	updates := make(chan *credentials)
	send := func(obj any) {
		secret, ok := obj.(*corev1.Secret)
		if !ok {
			return
		}
		a.joining.owns(secret)
		c, err := readCredentials(secret)
		if err != nil {
			log.WithError(err).Error("Secret cannot be used; waiting for it to be put right")
			return
		}
		a.newest.Store(c)
		select {
		case updates <- c:
		case <-ctx.Done():
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    send,
		UpdateFunc: func(_, obj any) { send(obj) },
		DeleteFunc: func(any) {
			a.joining.owns(nil)
			log.Warn("Secret is gone; going on with what it said")
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watching Secret %s/%s: %w", a.config.Namespace, names.SecretAgent, err)
	}
	go informer.RunWithContext(ctx)
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) && len(informer.GetStore().List()) == 0 {
			log.Info("Waiting for the Secret that says how to reach the hub, or for the one to register with")
			a.joining.owns(nil)
		}
	}()
	return updates, nil
}

// secretInformer watches one Secret.
func secretInformer(client kubernetes.Interface, namespace, name string) cache.SharedIndexInformer {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		}))
	return factory.Core().V1().Secrets().Informer()
}

// supervise holds a session with whatever hub the credentials name.
func (a *agent) supervise(ctx context.Context, updates <-chan *credentials) error {
	end := func() {}
	defer func() { end() }()
	var current *session
	begin := func(c *credentials) {
		end()
		current = &session{agent: a, credentials: c, line: newLine(c.token)}
		current.line.onRejected(a.joining.rejected)
		end = inBackground(ctx, current.run)
	}
	if c := a.newest.Load(); c != nil {
		begin(c)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-updates:
			// A watch that was refused is tried again after a while of its own. With a token that counts, a new session begins
			// at once.
			if current != nil && current.credentials.connection == c.connection && !current.line.refused.Load() {
				current.line.renew(c.token)
				a.log.Debug("Token renewed")
				continue
			}
			begin(c)
		}
	}
}

// inBackground runs f beside the caller and returns what ends it.
func inBackground(ctx context.Context, f func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// holder names this process in Leases.
func (a *agent) holder() string {
	if a.config.Identity != "" {
		return a.config.Identity
	}
	name, err := os.Hostname()
	if err != nil {
		return names.Agent
	}
	return name
}
