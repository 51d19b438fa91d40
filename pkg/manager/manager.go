package manager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	"github.com/flotilla-gitops/flotilla/pkg/manager/auditor"
	"github.com/flotilla-gitops/flotilla/pkg/manager/bundles"
	"github.com/flotilla-gitops/flotilla/pkg/manager/clustergroups"
	"github.com/flotilla-gitops/flotilla/pkg/manager/clusters"
	"github.com/flotilla-gitops/flotilla/pkg/manager/garbagecollector"
	"github.com/flotilla-gitops/flotilla/pkg/manager/gitrepos"
	"github.com/flotilla-gitops/flotilla/pkg/manager/registrations"
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
	// longestReconnect is short: there are few managers.
	longestReconnect = 2 * time.Second
)

// process is a running manager.
type process struct {
	Config
	conn    *kube.Connection
	log     logrus.FieldLogger
	metrics *metrics
	ready   readiness
	owners  garbagecollector.Debug
	inputs  *inputs
}

// Run runs the manager until ctx ends, or until it loses its lease.
func Run(ctx context.Context, config Config, log logrus.FieldLogger) error {
	conn, err := kube.Connect(config.Hub, kube.Options{
		UserAgent: "flotilla-manager", LongestReconnect: longestReconnect, Log: log,
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
	m := &process{Config: config, conn: conn, log: log, metrics: newMetrics()}
	if m.inputs, err = newInputs(conn, config.Namespace); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.inputs.run(ctx) })
	if config.WebhookAddress != "" {
		group.Go(func() error { return m.receive(ctx) })
	}
	if config.MetricsAddress != "" {
		group.Go(func() error {
			return serve(ctx, config.MetricsAddress, &http.Server{Handler: m.handler(), ReadHeaderTimeout: headerTimeout})
		})
	}
	group.Go(func() error { return m.whileLeading(ctx, m.control) })
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// control runs the controllers until ctx ends.
func (m *process) control(ctx context.Context) error {
	started := time.Now()
	hub := kube.NewHub(m.conn)
	hub.AddIndexes()
	runs, err := m.register(ctx, hub)
	if err != nil {
		return err
	}
	if err := m.conn.Start(ctx); err != nil {
		return err
	}
	m.ready.set(m.conn.Synced)
	m.log.WithField("took", time.Since(started).Round(time.Millisecond).String()).Info("Manager is running")
	var running errgroup.Group
	for _, run := range runs {
		running.Go(func() error { run(ctx); return nil })
	}
	return running.Wait()
}

// register prepares every controller.
func (m *process) register(ctx context.Context, hub *kube.Hub) ([]func(context.Context), error) {
	mirrors, err := source.NewMirrors(filepath.Join(m.DataDir, "mirrors"), source.Limits{
		MaxBytes: m.MaxRepositoryBytes, Timeout: m.FetchTimeout, KeepUnused: m.MirrorGrace,
	}, m.log)
	if err != nil {
		return nil, fmt.Errorf("preparing mirrors: %w", err)
	}
	chartCache, err := charts.New(filepath.Join(m.DataDir, "charts"), gitrepos.ChartRepositories{Mirrors: mirrors})
	if err != nil {
		return nil, fmt.Errorf("preparing chart cache: %w", err)
	}
	now := clock.RealClock{}
	recorder := kube.NewRecorder(ctx, hub.Connection, "flotilla-manager")
	var accounts []kube.Account
	account := func(a kube.Account) { accounts = append(accounts, a) }
	runs := []func(context.Context){
		gitrepos.Register(gitrepos.Deps{
			Hub: hub, Mirrors: mirrors, Secrets: m.inputs.secrets, KnownHosts: m.inputs.knownHosts, Namespace: m.Namespace,
			Charts: chartCache, Recorder: recorder, Log: m.log, Clock: now,
			Fetches: fetches, Readers: readers, Observe: m.metrics.observe, Account: account,
		}),
		bundles.Register(bundles.Deps{
			Hub: hub, Recorder: recorder, Log: m.log, Clock: now, Secrets: m.inputs.secrets, ConfigMaps: m.inputs.configMaps,
			Workers: bundleWorkers, Parallel: parallelWrites, Observe: m.metrics.observe, Account: account,
		}),
		clusters.Register(clusters.Deps{
			Hub: hub, Recorder: recorder, Log: m.log, Clock: now, Secrets: m.inputs.secrets,
			AgentURL: m.AgentURL, AgentCA: m.AgentCA, AgentImage: m.AgentImage, Observe: m.metrics.observe, Account: account,
		}),
		registrations.Register(registrations.Deps{
			Hub: hub, Recorder: recorder, Log: m.log, Clock: now, Agents: kube.Address{URL: m.AgentURL, CA: m.AgentCA},
			Secrets: m.inputs.joinTokens, Namespace: m.Namespace, AgentImage: m.AgentImage,
			MaxTokenTTL: m.MaxRegistrationTokenTTL, IgnoreLabels: m.IgnoreRegistrationLabels, Observe: m.metrics.observe,
		}),
		clustergroups.Register(clustergroups.Deps{Hub: hub, Log: m.log, Clock: now, Observe: m.metrics.observe, Account: account}),
		unsupported.Register(unsupported.Deps{Hub: hub, Log: m.log, Clock: now}),
		garbagecollector.Register(garbagecollector.Deps{
			Hub: hub, Recorder: recorder, Log: m.log, Clock: now, Metrics: garbagecollector.NewMetrics(m.metrics.registry),
			Debug: &m.owners, ContentGrace: m.ContentGrace, Parallel: parallelWrites, Limits: m.Brake, Observe: m.metrics.observe,
		}),
	}
	if m.AuditInterval > 0 {
		runs = append(runs, auditor.Register(auditor.Deps{
			Every: m.AuditInterval, Accounts: accounts, Caches: audited(hub),
			Metrics: auditor.NewMetrics(m.metrics.registry), Log: m.log, Observe: m.metrics.observe,
		}))
	}
	return runs, nil
}

// audited are the caches that decisions and statuses follow from.
func audited(hub *kube.Hub) []auditor.Cache {
	return []auditor.Cache{
		auditor.CacheOf(hub.GitRepos), auditor.CacheOf(hub.Bundles), auditor.CacheOf(hub.BundleDeployments),
		auditor.CacheOf(hub.Clusters), auditor.CacheOf(hub.ClusterGroups), auditor.CacheOf(hub.BundleNamespaceMappings),
		auditor.CacheOf(hub.Contents),
	}
}
