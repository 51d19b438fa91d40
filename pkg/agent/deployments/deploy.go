package deployments

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
	"github.com/flotilla-gitops/flotilla/pkg/render"
)

// deployment is one attempt to deploy.
type deployment struct {
	c   *Controller
	w   World
	d   Decision
	bd  *fleet.BundleDeployment
	log logrus.FieldLogger
	// as is the service account to act as; empty for the agent itself.
	as string
	// redactor knows the values, once they were read.
	redactor *release.Redactor
	// rendered is what was handed to Helm; nil before that.
	rendered *render.Rendered
}

// deploy brings the release to what is asked for and says how that went. It
// fails if the hub does not answer: then nothing was decided.
func (c *Controller) deploy(ctx context.Context, w World, d Decision) (result, error) {
	job := c.job(w, d)
	if err := c.announce(ctx, w, d); err != nil {
		return result{}, err
	}
	outcome, err := job.apply(ctx)
	var hub *HubError
	switch {
	case ctx.Err() != nil:
		return result{}, context.Cause(ctx)
	case errors.As(err, &hub):
		return result{}, err
	case errors.Is(err, errValuesOutdated):
		return c.notYet(ctx, w, d)
	case err != nil:
		return c.failed(ctx, job, err)
	}
	c.memory.with(w.Deployment.Name, func(r *remembered) {
		r.failed, r.blocked, r.lacking = nil, release.Key{}, false
		if len(outcome.Remaining) == 0 {
			r.looks = 0
		}
	})
	if err := job.settleCopies(ctx); errors.As(err, &hub) {
		return result{}, err
	} else if err != nil {
		return c.failed(ctx, job, err)
	}
	for _, action := range outcome.Taken {
		c.deps.Metrics.action(action)
	}
	made := result{Report: Report{
		Deployed: &Verdict{metav1.ConditionTrue, ReasonDeployed, ""}, Applied: true, Release: outcome.Release,
	}}
	if len(outcome.Remaining) > 0 {
		made.recheck, err = c.lookLater(w.Deployment.Name, outcome.Remaining)
	}
	return made, err
}

func (c *Controller) job(w World, d Decision) *deployment {
	return &deployment{
		c: c, w: w, d: d, bd: w.Deployment, redactor: release.NewRedactor(nil),
		log: c.log.WithFields(logrus.Fields{"deployment": w.Deployment.Name, "namespace": d.Wanted.Namespace}),
	}
}

// announce says what is being done if it may take long. What was said about an
// attempt that failed is left while it is repeated.
func (c *Controller) announce(ctx context.Context, w World, d Decision) error {
	timeout := helmOptions(&w.Deployment.Spec.Options).Timeout
	if timeout == 0 || w.Last != nil && w.Last.Inputs == w.inputs() {
		return nil
	}
	made, err := c.current(ctx, w, d)
	if err != nil {
		return err
	}
	if made.Release != nil {
		seen, err := c.look(ctx, w.Deployment, made.Release, false)
		if err != nil {
			return err
		}
		made.see(seen)
	}
	made.Deployed = &Verdict{
		metav1.ConditionUnknown, ReasonDeploying,
		fmt.Sprintf("deploying; waiting for at most %s for the objects to become ready", timeout),
	}
	return c.report(ctx, w.Deployment, made.Report)
}

func (j *deployment) apply(ctx context.Context) (*release.Outcome, error) {
	var err error
	if j.as, err = j.c.serviceAccount(ctx, j.bd); err != nil {
		return nil, err
	}
	outcome, err := j.c.deps.Releases.Apply(ctx, release.Request{
		Key: j.d.Wanted, Owner: j.w.Owner, Fingerprint: fingerprint(j.bd), Provide: j.copy, Elsewhere: j.d.Elsewhere,
		Load: j.load, ServiceAccount: j.as, Waiting: j.c.slots.without,
		Namespace: namespaceOptions(&j.bd.Spec.Options), Helm: helmOptions(&j.bd.Spec.Options),
	})
	if j.rendered != nil {
		// What Helm says of a template or a manifest, with its file and line.
		err = j.rendered.Explain(err)
	}
	return outcome, err
}

// load reads and renders what the deployment asks for.
func (j *deployment) load(ctx context.Context) (release.Package, error) {
	name, _, _ := strings.Cut(j.bd.Spec.DeploymentID, ":")
	resources, err := j.c.contents.get(ctx, name)
	if err != nil {
		return release.Package{}, err
	}
	in, err := j.c.hubInputs(ctx, j.bd)
	if err != nil {
		return release.Package{}, err
	}
	options, err := j.options(ctx, in)
	if err != nil {
		return release.Package{}, err
	}
	set := release.ObjectSet(j.bd.Name, j.c.deps.Agent)
	rendered, err := render.Release(render.Input{
		BundleName: j.bd.Name, Resources: resources, Options: options, DeploymentID: j.bd.Spec.DeploymentID,
		Commit:      j.bd.Labels[names.LabelCommit],
		Labels:      map[string]string{names.LabelObjectSetHash: names.ObjectSetHash(set)},
		Annotations: map[string]string{names.AnnotationObjectSetID: set},
		ChartAnnotations: map[string]string{
			names.AnnotationBundleID: j.bd.Name, names.AnnotationAgentNamespace: j.c.deps.Agent,
			names.AnnotationServiceAccount: j.as, names.AnnotationCommit: j.bd.Labels[names.LabelCommit],
			names.AnnotationKeepResources: fmt.Sprint(isSet(options.KeepResources)),
		},
		IsNamespaced: j.c.deps.Releases.IsNamespaced,
	})
	if err != nil {
		return release.Package{}, fmt.Errorf("rendering: %w", err)
	}
	j.rendered = rendered
	return release.Package{Chart: rendered.Chart, Values: rendered.Values, PostRenderer: rendered.PostRenderer, Copies: in.copies}, nil
}

// options returns the options of the deployment with all values in place.
func (j *deployment) options(ctx context.Context, in inputs) (fleet.BundleDeploymentOptions, error) {
	var none fleet.BundleDeploymentOptions
	options, err := bundle.JoinValues(*j.bd.Spec.Options.DeepCopy(), in.values)
	if err != nil {
		return none, err
	}
	if options.Helm == nil {
		j.redact(nil, in.copies)
		return options, nil
	}
	var all map[string]any
	if options.Helm.Values != nil {
		all = options.Helm.Values.Data
	}
	if len(options.Helm.ValuesFrom) > 0 {
		client, err := j.c.deps.Releases.ClientAs(j.as)
		if err != nil {
			return none, err
		}
		source := clusterValues{client: client, copies: in.copies, namespace: j.d.Wanted.Namespace, impersonated: j.as != "" && j.as != release.Itself}
		if all, err = source.merge(ctx, all, options.Helm.ValuesFrom); err != nil {
			return none, err
		}
	}
	j.redact(all, in.copies)
	options.Helm.Values = &fleet.GenericMap{Data: all}
	return options, nil
}

// serviceAccount returns the service account that a deployment is handled as:
// the one it names, or the default one where that exists. Empty is the agent
// itself, unless that is not allowed. Not knowing is an error: it must not end in
// more rights. What delivers the agent is the hub's own and nobody else's: the
// agent handles it as itself.
func (c *Controller) serviceAccount(ctx context.Context, bd *fleet.BundleDeployment) (string, error) {
	if delivery.Is(bd) {
		return release.Itself, nil
	}
	switch account := bd.Spec.Options.ServiceAccount; account {
	case "":
	case release.Itself:
		return "", fmt.Errorf("serviceAccount %q cannot be the name of a service account", account)
	default:
		return account, nil
	}
	self, err := c.deps.Releases.ClientAs("")
	if err != nil {
		return "", err
	}
	_, err = self.CoreV1().ServiceAccounts(c.deps.Agent).Get(ctx, names.ServiceAccountDefault, metav1.GetOptions{})
	switch {
	case err == nil:
		return names.ServiceAccountDefault, nil
	case !apierrors.IsNotFound(err):
		return "", fmt.Errorf("looking for service account %s/%s: %w", c.deps.Agent, names.ServiceAccountDefault, err)
	case c.deps.RequireServiceAccount:
		return "", fmt.Errorf("%w: set serviceAccount to one of namespace %s, or make one called %s there",
			release.ErrNoAccount, c.deps.Agent, names.ServiceAccountDefault)
	default:
		return "", nil
	}
}

// failed notes that an attempt failed, and reports on what is there.
func (c *Controller) failed(ctx context.Context, job *deployment, err error) (result, error) {
	err = job.redactor.Error(err)
	most := c.deps.LongestRetry
	lacking := release.LacksKind(err)
	if lacking || errors.Is(err, release.ErrNoAccount) {
		most = min(most, lastGlance)
	}
	attempt := job.w.Failed(c.clock.Now(), most, c.random())
	c.memory.with(job.bd.Name, func(r *remembered) {
		r.failed, r.blocked, r.lacking = attempt, release.Key{}, lacking
		if errors.Is(err, release.ErrForeign) {
			r.blocked = job.d.Wanted
		}
		r.drop()
	})
	wait := attempt.Next.Sub(c.clock.Now())
	job.log.WithError(err).WithFields(logrus.Fields{"failures": attempt.Failures, "retry": wait.String()}).Warn("Deploying failed")
	c.deps.Metrics.failure()
	made, lookErr := c.afterwards(ctx, job.w, job.d)
	made.Deployed = &Verdict{metav1.ConditionFalse, ReasonFailed, err.Error()}
	made.Applied, made.recheck = false, wait
	return made, lookErr
}

// afterwards returns the release that an attempt left behind.
func (c *Controller) afterwards(ctx context.Context, w World, d Decision) (result, error) {
	records, err := c.deps.Releases.Find(ctx, w.Deployment.Name)
	if err != nil {
		return result{}, err
	}
	d.Current = nil
	for _, record := range records {
		if record.Key == d.Wanted {
			d.Current = &record
		}
	}
	return c.current(ctx, w, d)
}

// notYet waits for the hub to have written the values. Nobody tells the agent
// when it has, unless the deployment changes, too.
func (c *Controller) notYet(ctx context.Context, w World, d Decision) (result, error) {
	attempt := w.Failed(c.clock.Now(), lastGlance, c.random())
	c.memory.with(w.Deployment.Name, func(r *remembered) { r.failed = attempt })
	made, err := c.current(ctx, w, d)
	made.Deployed = &Verdict{metav1.ConditionUnknown, ReasonWaitingForValues, errValuesOutdated.Error()}
	made.recheck = attempt.Next.Sub(c.clock.Now())
	return made, err
}
