package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Options of a Manager.
type Options struct {
	// Config reaches the cluster as the agent itself.
	Config *rest.Config
	// Agent is the namespace of the agent.
	Agent string
	// Log of the manager.
	Log logrus.FieldLogger
	// RequireServiceAccount refuses to handle a release as the agent itself.
	RequireServiceAccount bool
	// RenderTimeout is how long the templates of a chart may take; 1 minute.
	RenderTimeout time.Duration
	// Clock tells the time; the real one.
	Clock clock.WithTicker
}

// Manager installs, upgrades and removes releases in one cluster. It is safe
// for concurrent use; work on one release is done one piece at a time.
type Manager struct {
	config  *rest.Config
	agent   string
	log     logrus.FieldLogger
	clock   clock.WithTicker
	cluster *cluster
	self    *actor
	locks   locks

	requireAccount bool
	renderTimeout  time.Duration
	renderings     renderings

	mu     sync.Mutex
	actors map[string]*actor
}

// NewManager returns a manager. It makes no request.
func NewManager(opts Options) (*Manager, error) {
	config := rest.CopyConfig(opts.Config)
	config.QPS, config.Burst = -1, 0
	// Warnings of the API server are about the user's manifests, not about the agent.
	config.WarningHandler = rest.NoWarnings{}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.RenderTimeout == 0 {
		opts.RenderTimeout = DefaultRenderTimeout
	}
	shared, err := newCluster(config, opts.Clock, opts.Log)
	if err != nil {
		return nil, err
	}
	self, err := newActor(config)
	if err != nil {
		return nil, err
	}
	return &Manager{
		config: config, agent: opts.Agent, log: opts.Log, clock: opts.Clock, cluster: shared, self: self,
		requireAccount: opts.RequireServiceAccount, renderTimeout: opts.RenderTimeout,
		actors: map[string]*actor{},
	}, nil
}

// RESTMapper returns the shared knowledge of the kinds that the cluster
// serves. It looks again before it says that there is no such kind.
func (m *Manager) RESTMapper() meta.RESTMapper { return m.cluster }

// ForgetKinds has the kinds that the cluster serves read again when one is
// asked for.
func (m *Manager) ForgetKinds() { m.cluster.Reset() }

// IsNamespaced says whether objects of a kind live in namespaces, and whether
// that is known.
func (m *Manager) IsNamespaced(gvk schema.GroupVersionKind) (namespaced, known bool) {
	mapping, err := m.cluster.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return false, false
	}
	return mapping.Scope.Name() == meta.RESTScopeNameNamespace, true
}

// Release is a release as its newest revision records it.
type Release struct {
	Record
	// Description is what Helm says about how the revision came to its status.
	Description string
	// DeployedAt is when the revision was made.
	DeployedAt time.Time
	// Objects that the revision holds; those of namespaced kinds have a namespace.
	Objects []Object
	// Desired are the same objects as the revision asks for them.
	Desired *Desired
}

// Load reads the revision that record names.
func (m *Manager) Load(ctx context.Context, record Record) (*Release, error) {
	stored, err := guarded(func() (*helmrelease.Release, error) {
		store := newStorage(ctx, m.self.client.CoreV1().Secrets(record.Key.Namespace))
		return store.Get(record.Key.Name, record.Revision)
	})
	if err != nil {
		return nil, fmt.Errorf("reading record of release %s: %w", record.Key, err)
	}
	return m.describe(stored, record)
}

func (m *Manager) describe(stored *helmrelease.Release, record Record) (*Release, error) {
	objects, err := parseManifest(stored.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reading record of release %s: %w", record.Key, err)
	}
	for i := range objects {
		if namespaced, known := m.IsNamespaced(objects[i].GroupVersionKind); known && !namespaced {
			objects[i].Namespace = ""
		} else if objects[i].Namespace == "" {
			objects[i].Namespace = record.Key.Namespace
		}
	}
	desired, err := newDesired(stored.Manifest, record.Key, objects)
	if err != nil {
		return nil, fmt.Errorf("reading record of release %s: %w", record.Key, err)
	}
	return &Release{
		Record: record, Description: stored.Info.Description,
		DeployedAt: stored.Info.LastDeployed.Time, Objects: objects, Desired: desired,
	}, nil
}

// Find reads the records of all releases of a deployment that this manager's
// agent made, live, and returns the newest of each.
func (m *Manager) Find(ctx context.Context, deployment string) ([]Record, error) {
	selector := labels.Set{
		labelHelmOwner: helmOwner, names.LabelReleaseAgent: m.agent, names.LabelDeployment: DeploymentLabel(deployment),
	}
	list, err := m.self.metadata.Resource(secretResource()).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("listing releases of deployment %s: %w", deployment, err)
	}
	objects := make([]any, 0, len(list.Items))
	for i := range list.Items {
		objects = append(objects, &list.Items[i])
	}
	return newest(objects), nil
}

// history is what is recorded of a release, the newest revision last.
type history []*helmrelease.Release

func (m *Manager) history(ctx context.Context, key Key) (history, error) {
	found, err := guarded(func() ([]*helmrelease.Release, error) {
		return newStorage(ctx, m.self.client.CoreV1().Secrets(key.Namespace)).History(key.Name)
	})
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading records of release %s: %w", key, err)
	}
	releaseutil.SortByRevision(found)
	return found, nil
}

// latest returns the record of the newest revision, nil if there is none.
func (h history) latest(namespace string) (*Record, error) {
	if len(h) == 0 {
		return nil, nil
	}
	record, err := recordFrom(namespace, h[len(h)-1].Labels)
	if err != nil {
		return nil, fmt.Errorf("reading records of release %s/%s: %w", namespace, h[len(h)-1].Name, err)
	}
	return &record, nil
}

// deployed says whether a revision on record was deployed once.
func (h history) deployed() bool {
	return slices.ContainsFunc(h, func(r *helmrelease.Release) bool {
		return r.Info.Status == helmrelease.StatusDeployed || r.Info.Status == helmrelease.StatusSuperseded
	})
}

// objects returns the objects of all revisions, once each.
func (h history) objects() ([]Object, error) {
	var all []Object
	for _, revision := range slices.Backward(h) {
		list, err := parseManifest(revision.Manifest)
		if err != nil {
			return nil, fmt.Errorf("reading revision %d of release %s: %w", revision.Version, revision.Name, err)
		}
		all = union(all, list)
	}
	return all, nil
}

// helm returns what a Helm action needs to work on a release.
func (m *Manager) helm(ctx context.Context, act *actor, job job) (*action.Configuration, *kubeClient, error) {
	recorded, err := job.history.objects()
	if err != nil {
		return nil, nil, err
	}
	capabilities, err := m.cluster.helmCapabilities()
	if err != nil {
		return nil, nil, err
	}
	log := m.log.WithFields(logrus.Fields{"namespace": job.key.Namespace, "release": job.key.Name})
	getter := &getter{config: boundTo(ctx, act.config), cluster: m.cluster, namespace: job.key.Namespace}
	inner := kube.New(getter)
	inner.Namespace = job.key.Namespace
	inner.Log = log.Debugf
	client := &kubeClient{
		Client: inner, ctx: ctx, log: log, release: job.key, set: job.set,
		objects:      &objects{cluster: m.cluster, client: act.metadata},
		capabilities: capabilities, recorded: recorded, recordedText: map[string]bool{},
		timeout: job.timeout, waiting: job.waiting, rendered: make(chan struct{}),
	}
	if client.waiting == nil {
		client.waiting = func(wait func()) { wait() }
	}
	for _, revision := range job.history {
		client.recordedText[revision.Manifest] = true
	}
	// The release's records are the agent's business: a tenant's service account need not be able to read them.
	cfg := &action.Configuration{
		KubeClient: client, Capabilities: capabilities, Log: log.Debugf,
		Releases: job.storage(ctx, m.self.client),
	}
	if act != m.self {
		// Without it templates cannot look into the cluster, and as the agent itself they would see everybody's objects.
		cfg.RESTClientGetter = getter
	}
	return cfg, client, nil
}

// job is a piece of work on one release.
type job struct {
	key     Key
	set     string
	history history
	timeout time.Duration
	waiting func(wait func())
	// removing says that a person's word to remove the release is on its record, and stays there.
	removing bool
}

// storage returns the records that the work is done on.
func (j job) storage(ctx context.Context, client kubernetes.Interface) *storage.Storage {
	secrets := client.CoreV1().Secrets(j.key.Namespace)
	if j.removing {
		return newStorage(ctx, &annotatedSecrets{SecretInterface: secrets, key: names.AnnotationUnclaimed, value: names.UnclaimedRemove})
	}
	return newStorage(ctx, secrets)
}

// guarded turns a panic of Helm into an error.
func guarded[T any](f func() (T, error)) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in Helm: %v", r)
		}
	}()
	return f()
}

// setOf returns the value of the object set label for a deployment.
func (m *Manager) setOf(deployment string) string {
	return names.ObjectSetHash(ObjectSet(deployment, m.agent))
}

// ObjectSet returns the identity that the objects of a deployment carry in
// their annotation: agents in other namespaces than the usual one get names
// of their own.
func ObjectSet(deployment, agent string) string {
	if agent == names.NamespaceSystem {
		agent = ""
	}
	return names.ObjectSet(deployment, agent)
}

// locks are held one per release.
type locks struct {
	mu   sync.Mutex
	held map[Key]chan struct{}
}

// lock waits until nobody works on any of the releases, or ctx ends. It takes
// them in one order, so that two callers cannot wait for each other.
func (l *locks) lock(ctx context.Context, keys ...Key) (unlock func(), err error) {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.String(), b.String()) })
	keys = slices.Compact(keys)
	taken := 0
	unlock = func() {
		for _, key := range keys[:taken] {
			l.release(key)
		}
	}
	for _, key := range keys {
		if err := l.take(ctx, key); err != nil {
			unlock()
			return nil, fmt.Errorf("waiting for release %s: %w", key, err)
		}
		taken++
	}
	return unlock, nil
}

func (l *locks) take(ctx context.Context, key Key) error {
	for {
		l.mu.Lock()
		busy, held := l.held[key]
		if !held {
			if l.held == nil {
				l.held = map[Key]chan struct{}{}
			}
			l.held[key] = make(chan struct{})
		}
		l.mu.Unlock()
		if !held {
			return nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *locks) release(key Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[key])
	delete(l.held, key)
}
