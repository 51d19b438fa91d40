package deployments

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// Deps is what the controller works with.
type Deps struct {
	// Deployments are those of the cluster's namespace on the hub.
	Deployments Deployments
	// Contents and Secrets are read from the hub.
	Contents ContentReader
	Secrets  SecretReader
	// Evidence is asked before every removal.
	Evidence EvidenceReader

	// Releases are those of the cluster, Inventory is what is known of them, and Copies what of what they have copied.
	Releases  Releases
	Inventory Inventory
	Copies    CopyInventory
	// Objects reads objects of the cluster; Watch makes the watches of them.
	Objects dynamic.Interface
	Watch   func(onEvent func(watchset.Event), onState func(owner string)) Watches

	// Namespace is the cluster's namespace on the hub, HubID the identity of the hub.
	Namespace, HubID string
	// Agent is the namespace of the agent.
	Agent string
	// RequireServiceAccount refuses deployments that would be handled as the agent itself.
	RequireServiceAccount bool
	// Managed lets the hub decide what the Deployment of the agent itself is.
	Managed bool
	// LongestRetry is the longest wait after a failure; 5 minutes.
	LongestRetry time.Duration
	// UnclaimedChanged, if set, is called when there are other unclaimed releases than before. It must not block.
	UnclaimedChanged func()
	// AtOnce is how many deployments are worked on at once; those that only wait for others do not count.
	AtOnce  int
	Log     logrus.FieldLogger
	Metrics *Metrics
	Clock   clock.WithTicker
}

// Deployments is the handle on BundleDeployments.
type Deployments interface {
	Cache() generic.CacheInterface[*fleet.BundleDeployment]
	OnEvent(func(kube.Event[*fleet.BundleDeployment]))
	ChangeStatus(ctx context.Context, before, after *fleet.BundleDeployment) (*fleet.BundleDeployment, error)
}

// ContentReader reads Contents from the hub.
type ContentReader interface {
	Get(ctx context.Context, namespace, name string) (*fleet.Content, error)
}

// SecretReader reads Secrets from the hub.
type SecretReader interface {
	Get(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// EvidenceReader reads from the hub what a removal needs.
type EvidenceReader interface {
	Read(ctx context.Context, deployment string) (Evidence, error)
}

// Releases installs, upgrades and removes releases.
type Releases interface {
	Apply(context.Context, release.Request) (*release.Outcome, error)
	Remove(context.Context, release.Removal) ([]release.Remaining, error)
	Adopt(context.Context, release.Key, release.Owner) error
	Find(ctx context.Context, deployment string) ([]release.Record, error)
	Load(context.Context, release.Record) (*release.Release, error)
	Unwish(context.Context, release.Record) error
	OriginOf(context.Context, release.Record) (release.Origin, error)
	Forget(context.Context, release.Record) error
	ClientAs(serviceAccount string) (kubernetes.Interface, error)
	RESTMapper() meta.RESTMapper
	IsNamespaced(schema.GroupVersionKind) (namespaced, known bool)
	Predict(context.Context, release.Question) (*release.Prediction, error)
	Correct(context.Context, release.Correction) (*unstructured.Unstructured, error)
	Provide(context.Context, release.Provision) (*release.Provided, error)
	Held(context.Context, release.Owner, []release.CopyKey) ([]release.CopyKey, error)
	Withdraw(context.Context, release.Withdrawal) error
	ForgetKinds()
}

// Inventory knows which releases there are.
type Inventory interface {
	Of(deployment string) []release.Record
	All() []release.Record
	OnChange(func(release.Record)) error
}

// CopyInventory knows which copies there are.
type CopyInventory interface {
	Of(deployment string) []release.HeldCopy
	OnChange(func(release.CopyEvent)) error
}

// Watches watches objects of the cluster.
type Watches interface {
	Want(owner string, resources []watchset.Resource) error
	Problems(owner string) map[watchset.Resource]error
	Marked(label string) []watchset.Event
}

// Controller runs what the deployments of one cluster ask for.
type Controller struct {
	deps     Deps
	cache    generic.CacheInterface[*fleet.BundleDeployment]
	queue    *kube.Queue
	watches  Watches
	memory   *memory
	contents *contents
	slots    slots
	clock    clock.PassiveClock
	log      logrus.FieldLogger
	random   func() float64
}

// waiters is how many deployments can be looked after at once, those that only
// wait for others included.
const waiters = 256

// New returns the controller. Events reach it from now on, but it does nothing
// before Run.
func New(deps Deps) (*Controller, error) {
	if deps.Clock == nil {
		deps.Clock = clock.RealClock{}
	}
	if deps.LongestRetry == 0 {
		deps.LongestRetry = lastRetry
	}
	c := &Controller{
		deps: deps, cache: deps.Deployments.Cache(), memory: newMemory(), contents: newContents(deps.Contents),
		slots: make(slots, max(deps.AtOnce, 1)), clock: deps.Clock, random: rand.Float64,
		log: deps.Log.WithField("controller", "deployments"),
	}
	c.queue = kube.NewQueue(kube.QueueOptions{
		Name: "deployments", Reconcile: c.reconcile, Log: deps.Log, Workers: waiters, Clock: deps.Clock,
		Window: 50 * time.Millisecond, Observe: deps.Metrics.observe,
	})
	c.watches = deps.Watch(c.objectChanged, c.watchChanged)
	deps.Deployments.OnEvent(c.deploymentChanged)
	if err := deps.Inventory.OnChange(c.releaseChanged); err != nil {
		return nil, err
	}
	if err := deps.Copies.OnChange(c.copyChanged); err != nil {
		return nil, err
	}
	return c, nil
}

// Run looks after deployments until ctx ends. The caches must be complete.
func (c *Controller) Run(ctx context.Context) { c.queue.Run(ctx) }

// result is what came of a decision, and when to decide again.
type result struct {
	Report
	recheck time.Duration
	// silent says that there is nothing to report yet.
	silent bool
}

// reconcile brings the release of a deployment one step closer to what the
// deployment asks for, and reports.
func (c *Controller) reconcile(ctx context.Context, key kube.Key) (time.Duration, error) {
	bd, err := c.cache.Get(key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return c.missing(ctx, key.Name)
	}
	if err != nil {
		return 0, fmt.Errorf("reading deployment: %w", err)
	}
	if c.memory.lose(bd.Name, false) {
		c.unclaimedChanged()
	}
	if err := c.slots.enter(ctx); err != nil {
		return 0, err
	}
	defer c.slots.leave()

	c.memory.know(bd.Name, c.setOf(bd.Name))
	world, err := c.observe(bd)
	if err != nil {
		return 0, err
	}
	if err := c.unwish(ctx, world.Records); err != nil {
		return 0, err
	}
	decision := Decide(world)
	made, err := c.act(ctx, world, decision)
	if err == nil && !made.silent {
		err = c.report(ctx, bd, made.Report)
	}
	c.memory.with(bd.Name, func(r *remembered) { r.unreported = err != nil })
	if err != nil {
		return 0, err
	}
	return max(made.recheck, decision.Recheck), nil
}

// report writes the status, if it differs.
func (c *Controller) report(ctx context.Context, bd *fleet.BundleDeployment, r Report) error {
	before, cached := c.latest(bd)
	err := c.write(ctx, before, cached, r)
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return nil // gone since; the event is on its way
	default:
		return fmt.Errorf("reporting: %w", err)
	}
}

// latest returns the deployment with the newest status of it that is known,
// and which version of it the cache shows. Acting may have taken long, and other reports may have been made meanwhile;
// a report is about what was acted on, whatever is asked for by now.
func (c *Controller) latest(bd *fleet.BundleDeployment) (latest *fleet.BundleDeployment, cached string) {
	latest = bd.DeepCopy()
	if now, err := c.cache.Get(bd.Namespace, bd.Name); err == nil && now.UID == bd.UID {
		latest.ResourceVersion, latest.Finalizers = now.ResourceVersion, slices.Clone(now.Finalizers)
		latest.Status = *now.Status.DeepCopy()
	}
	cached = latest.ResourceVersion
	c.memory.with(bd.Name, func(r *remembered) {
		if r.reportedOn == cached {
			// The cache has not seen it yet.
			latest.Status, latest.ResourceVersion = r.reported, r.reportedAs
		}
	})
	return latest, cached
}

// write writes what the report makes of the status, if that differs. It fails
// with a conflict if the deployment is not as before says any more.
func (c *Controller) write(ctx context.Context, before *fleet.BundleDeployment, cached string, r Report) error {
	after := before.DeepCopy()
	after.Status = statusOf(before, r, metav1.NewTime(c.clock.Now()))
	written, err := c.deps.Deployments.ChangeStatus(ctx, before, after)
	if err == nil && written.ResourceVersion == before.ResourceVersion {
		return nil
	}
	c.memory.with(before.Name, func(r *remembered) {
		r.reportedOn = ""
		if now, missing := c.cache.Get(before.Namespace, before.Name); err == nil && missing == nil && now.ResourceVersion == cached {
			r.reportedOn, r.reportedAs, r.reported = cached, written.ResourceVersion, after.Status
		}
	})
	return err
}

// slots limit how many deployments are worked on at once.
type slots chan struct{}

func (s slots) enter(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slots) leave() { <-s }

// without lets another deployment have the slot while wait waits for others.
func (s slots) without(wait func()) {
	s.leave()
	defer func() { s <- struct{}{} }()
	wait()
}
