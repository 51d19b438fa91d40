package manager

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	lassocache "github.com/rancher/lasso/pkg/cache"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader/charts"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager/bundles"
	"github.com/flotilla-gitops/flotilla/pkg/manager/clustergroups"
	"github.com/flotilla-gitops/flotilla/pkg/manager/clusters"
	"github.com/flotilla-gitops/flotilla/pkg/manager/garbagecollector"
	"github.com/flotilla-gitops/flotilla/pkg/manager/gitrepos"
	"github.com/flotilla-gitops/flotilla/pkg/manager/unsupported"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

const (
	// parallelWrites is how many objects of one owner are written at once. An
	// API server alone takes writes from a few dozen clients before it slows.
	parallelWrites = 32
	bundleWorkers  = 8
	// fetches is generous: workers that ask git servers mostly wait.
	fetches = 64
	readers = 2
)

// Run runs the manager until ctx ends, or until it loses its lease.
func Run(ctx context.Context, config Config, log logrus.FieldLogger) error {
	conn, err := kube.Connect(config.Hub, kube.Options{
		UserAgent: "flotilla-manager",
		Selectors: map[schema.GroupVersionKind]lassocache.TweakListOptionsFunc{
			// Of all Secrets the manager watches only those that it wrote.
			corev1.SchemeGroupVersion.WithKind("Secret"): func(o *metav1.ListOptions) {
				o.LabelSelector = names.LabelInternalSecret + "=true"
			},
		},
	})
	if err != nil {
		return fmt.Errorf("connecting to the hub: %w", err)
	}
	metrics := newMetrics()
	group, ctx := errgroup.WithContext(ctx)
	ready := &readiness{}
	if config.MetricsAddress != "" {
		group.Go(func() error { return serve(ctx, config.MetricsAddress, metrics.registry, ready) })
	}
	group.Go(func() error {
		return whileLeading(ctx, config, conn, log, func(ctx context.Context) error {
			return control(ctx, config, conn, log, metrics, ready)
		})
	})
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// control runs the controllers until ctx ends.
func control(ctx context.Context, config Config, conn *kube.Connection, log logrus.FieldLogger, m *metrics, ready *readiness) error {
	started := time.Now()
	hub := kube.NewHub(conn)
	hub.AddIndexes()
	runs, err := register(ctx, config, hub, log, m)
	if err != nil {
		return err
	}
	if err := conn.Start(ctx); err != nil {
		return err
	}
	ready.set(conn.Synced)
	log.WithField("took", time.Since(started).Round(time.Millisecond).String()).Info("Manager is running")
	var running errgroup.Group
	for _, run := range runs {
		running.Go(func() error { run(ctx); return nil })
	}
	return running.Wait()
}

// register prepares every controller.
func register(ctx context.Context, config Config, hub *kube.Hub, log logrus.FieldLogger, m *metrics) ([]func(context.Context), error) {
	mirrors, err := source.NewMirrors(filepath.Join(config.DataDir, "mirrors"), source.Limits{
		MaxBytes: config.MaxRepositoryBytes, Timeout: config.FetchTimeout,
	}, log)
	if err != nil {
		return nil, fmt.Errorf("preparing mirrors: %w", err)
	}
	chartCache, err := charts.New(filepath.Join(config.DataDir, "charts"))
	if err != nil {
		return nil, fmt.Errorf("preparing chart cache: %w", err)
	}
	now := clock.RealClock{}
	recorder := kube.NewRecorder(ctx, hub.Connection, "flotilla-manager")
	return []func(context.Context){
		gitrepos.Register(gitrepos.Deps{
			Hub: hub, Mirrors: mirrors, Charts: chartCache, Recorder: recorder, Log: log, Clock: now,
			Fetches: fetches, Readers: readers, Observe: m.observe,
		}),
		bundles.Register(bundles.Deps{
			Hub: hub, Recorder: recorder, Log: log, Clock: now,
			Workers: bundleWorkers, Parallel: parallelWrites, Observe: m.observe,
		}),
		clusters.Register(clusters.Deps{
			Hub: hub, Recorder: recorder, Log: log, Clock: now,
			AgentURL: config.AgentURL, AgentCA: config.AgentCA, AgentImage: config.AgentImage, Observe: m.observe,
		}),
		clustergroups.Register(clustergroups.Deps{Hub: hub, Log: log, Clock: now, Observe: m.observe}),
		unsupported.Register(unsupported.Deps{Hub: hub, Log: log, Clock: now}),
		garbagecollector.Register(garbagecollector.Deps{
			Hub: hub, Recorder: recorder, Log: log, Clock: now, Metrics: garbagecollector.NewMetrics(m.registry),
			ContentGrace: config.ContentGrace, Parallel: parallelWrites, Observe: m.observe,
		}),
	}, nil
}
