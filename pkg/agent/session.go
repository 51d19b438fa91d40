package agent

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/flotilla-gitops/flotilla/pkg/agent/deployments"
	"github.com/flotilla-gitops/flotilla/pkg/agent/heartbeat"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// session is the agent's work for one cluster of one hub.
type session struct {
	agent       *agent
	credentials *credentials
	line        *line

	watches    atomic.Pointer[watchset.Set]
	controller atomic.Pointer[deployments.Controller]
	// working says that the caches are complete and deployments are looked after.
	working atomic.Bool
}

// between are the times between two attempts to begin a session, with jitter:
// many agents lose their hub at the same moment.
func (s *session) between() wait.Backoff {
	return wait.Backoff{
		Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Cap: s.agent.config.LongestReconnect, Steps: math.MaxInt32,
	}
}

func (s *session) log() logrus.FieldLogger {
	return s.agent.log.WithFields(logrus.Fields{
		"hub": s.credentials.hub.Host, "namespace": s.credentials.namespace, "cluster": s.credentials.cluster.String(),
	})
}

// run works until ctx ends. What fails before there is anything to work on is
// tried again.
func (s *session) run(ctx context.Context) {
	log := s.log()
	log.Info("Connecting to the hub")
	s.agent.session.Store(s)
	defer s.agent.session.CompareAndSwap(s, nil)
	backoff := s.between()
	_ = backoff.DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		if err := s.work(ctx, log); err != nil && ctx.Err() == nil {
			log.WithError(err).Error("Session with the hub failed, trying again")
		}
		return false, nil
	})
	s.working.Store(false)
	log.Info("Session with the hub ended")
}

// work runs everything that belongs to the session until ctx ends, or until
// the session cannot go on.
func (s *session) work(ctx context.Context, log logrus.FieldLogger) error {
	hubConfig := s.line.through(s.credentials.hub)
	conn, err := kube.Connect(hubConfig, kube.Options{
		UserAgent: "flotilla-agent", Namespace: s.credentials.namespace, LongestReconnect: s.agent.config.LongestReconnect, Log: s.agent.log,
	})
	if err != nil {
		return fmt.Errorf("connecting to the hub: %w", err)
	}
	beat, err := s.heartbeat(conn)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		beat.Run(ctx)
		return nil
	})
	group.Go(func() error {
		hubID, err := s.hubID(ctx, conn, log)
		if err != nil {
			return err
		}
		return s.deploy(ctx, conn, hubID, beat)
	})
	return group.Wait()
}

func (s *session) heartbeat(conn *kube.Connection) (*heartbeat.Heartbeat, error) {
	writer, err := dynamic.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("making client for the hub: %w", err)
	}
	return heartbeat.New(heartbeat.Options{
		Leases: conn.Kubernetes.CoordinationV1().Leases(s.credentials.namespace), Hub: writer,
		Cluster: s.credentials.cluster, Agent: s.agent.config.Namespace, Holder: s.agent.holder(), Managed: s.agent.config.Managed,
		Period: s.agent.config.Heartbeat, Unclaimed: s.unclaimed, Log: s.agent.log, Clock: clock.RealClock{},
	}), nil
}

// unclaimed returns the unclaimed releases, and whether they are known yet.
func (s *session) unclaimed() ([]types.NamespacedName, bool) {
	if !s.working.Load() {
		return nil, false
	}
	return s.controller.Load().Unclaimed(), true
}

// hubID asks the hub who it is until it answers: releases are not made for a
// hub that nobody could tell from another.
func (s *session) hubID(ctx context.Context, conn *kube.Connection, log logrus.FieldLogger) (string, error) {
	var id string
	backoff := s.between()
	err := backoff.DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		found, err := conn.Kubernetes.CoreV1().ConfigMaps(s.credentials.namespace).Get(ctx, names.ConfigMapHub, metav1.GetOptions{})
		if err == nil && found.Data[names.KeyHubID] == "" {
			err = fmt.Errorf("ConfigMap %s has no key %s", names.ConfigMapHub, names.KeyHubID)
		}
		if err != nil {
			log.WithError(err).Warn("The hub does not say who it is; asking again")
			return false, nil
		}
		id = found.Data[names.KeyHubID]
		return true, nil
	})
	return id, err
}

// deploy looks after the deployments until ctx ends.
func (s *session) deploy(ctx context.Context, conn *kube.Connection, hubID string, beat *heartbeat.Heartbeat) error {
	releases, err := release.NewManager(release.Options{
		Config: s.agent.local, Agent: s.agent.config.Namespace, Log: s.agent.log,
		RequireServiceAccount: s.agent.config.RequireServiceAccount, RenderTimeout: s.agent.config.RenderTimeout,
	})
	if err != nil {
		return err
	}
	inventory, err := releases.NewInventory()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hub := kube.NewHub(conn)
	metadataOf, err := metadata.NewForConfig(conn.Config)
	if err != nil {
		return fmt.Errorf("making client for the hub: %w", err)
	}
	controller, err := s.newController(ctx, hub, deployments.Deps{
		Releases: releases, Inventory: inventory, Copies: inventory.Copies(), HubID: hubID, UnclaimedChanged: beat.Look,
		Evidence: deployments.HubEvidence{Client: metadataOf, Namespace: s.credentials.namespace, Cluster: s.credentials.cluster},
	})
	if err != nil {
		return err
	}
	s.controller.Store(controller)
	back := make(chan struct{}, 1)
	s.line.onBack(func() {
		beat.Now()
		controller.HubBack()
		select {
		case back <- struct{}{}:
		default: // it is being looked at
		}
	})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return progress{hub.BundleDeployments.Seen, presentOf(metadataOf, s.credentials.namespace), askAgain}.awaitSetBack(ctx, back)
	})
	group.Go(func() error {
		inventory.Run(ctx)
		return nil
	})
	group.Go(func() error { return watchKinds(ctx, s.agent.local, controller.KindsChanged) })
	group.Go(func() error {
		if err := conn.Start(ctx); err != nil {
			return err
		}
		if !inventory.WaitForSync(ctx) {
			return ctx.Err()
		}
		s.agent.log.Info("Looking after deployments")
		s.working.Store(true)
		beat.Look()
		controller.Run(ctx)
		return nil
	})
	err = group.Wait()
	cancel()
	s.watches.Load().Wait()
	return err
}

func (s *session) newController(ctx context.Context, hub *kube.Hub, deps deployments.Deps) (*deployments.Controller, error) {
	local, err := metadata.NewForConfig(s.agent.local)
	if err != nil {
		return nil, fmt.Errorf("making client for the agent's cluster: %w", err)
	}
	objects, err := dynamic.NewForConfig(quiet(s.agent.local))
	if err != nil {
		return nil, fmt.Errorf("making client for the agent's cluster: %w", err)
	}
	deps.Deployments, deps.Contents, deps.Secrets = hub.BundleDeployments, hub.Contents, hub.Secrets
	deps.Objects = objects
	deps.Watch = func(onEvent func(watchset.Event), onState func(string)) deployments.Watches {
		set := watchset.New(ctx, watchset.Options{
			Client: local, Label: names.LabelObjectSetHash, OnEvent: onEvent, OnState: onState, Log: s.agent.log,
			Mark: deployments.Standalone, OnKinds: deps.Releases.ForgetKinds,
		})
		s.watches.Store(set)
		return set
	}
	deps.Namespace, deps.Agent = s.credentials.namespace, s.agent.config.Namespace
	deps.Managed = s.agent.config.Managed
	deps.RequireServiceAccount, deps.LongestRetry = s.agent.config.RequireServiceAccount, s.agent.config.LongestRetry
	deps.AtOnce, deps.Log, deps.Metrics = s.agent.config.AtOnce, s.agent.log, s.agent.metrics.deployments
	return deployments.New(deps)
}

// quiet returns a config whose clients do not log what API servers warn of:
// that is about users' manifests.
func quiet(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	return config
}
