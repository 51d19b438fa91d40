package deployments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/drift"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// inspection is a look at some objects of a release.
type inspection struct {
	c       *Controller
	bd      *fleet.BundleDeployment
	release *release.Release
	policy  policy
	// places of all objects of the release, indexes of those to look at; desired are the latter as the release asks for
	// them, nil where that is not known.
	places  []place
	indexes []int
	desired []*unstructured.Unstructured
	// known are verdicts of before, struggles those that go on.
	known     map[int]verdict
	struggles map[int]struggle
	// account returns the service account to ask and correct as.
	account func() (string, error)
}

// finding is what was found of one object.
type finding struct {
	Observation
	live *unstructured.Unstructured
	// restoring is the patch that takes the drift back; nil if there is none, or none is known.
	restoring map[string]any
	// refused says why the API server could not tell.
	refused *release.RefusedError
	// verdict is to be remembered, if not nil, and struggle the one that goes on.
	verdict  *verdict
	struggle *struggle
	// due is when to look again.
	due time.Time
	// corrected says what was corrected, if anything was.
	corrected string
}

// run looks at the objects, live, and corrects those that have drifted if the
// policy says so.
func (in *inspection) run(ctx context.Context) ([]finding, error) {
	found := make([]finding, len(in.indexes))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for n := range in.indexes {
		group.Go(kube.Guarded(func() (err error) {
			found[n], err = in.find(inner, n)
			return err
		}))
	}
	if err := group.Wait(); err != nil || !in.policy.correct {
		return found, err
	}
	return found, in.correctAll(ctx, found)
}

// object returns the object that n stands for.
func (in *inspection) object(n int) release.Object { return in.release.Objects[in.indexes[n]] }

// find reads one object and judges it.
func (in *inspection) find(ctx context.Context, n int) (finding, error) {
	live, err := in.c.get(ctx, in.places[in.indexes[n]])
	if err != nil {
		return finding{}, fmt.Errorf("reading %s: %w", in.object(n), err)
	}
	return in.judge(ctx, n, live)
}

// judge tells what is to be said of a live object; nil is one that does not
// exist. The API server is asked only if the object is not in every leaf what
// the release asks for, and was not found to be fine with the same differences
// before.
func (in *inspection) judge(ctx context.Context, n int, live *unstructured.Unstructured) (finding, error) {
	f := finding{Observation: observe(in.object(n), live, in.release.Key, in.policy.ignored), live: live}
	desired := in.desired[n]
	if in.policy.rules.Ignore(f.Object.GroupKind(), f.Object.Namespace, f.Object.Name) {
		f.Ignored = true
		return f, nil
	}
	switch {
	case desired == nil, f.Health == Leaving, f.Health == NotOurs && !in.takesOver():
		return f, nil
	case live == nil:
		if drift.Vanishes(desired) {
			f.Health, f.Message = Healthy, ""
		}
		return f, nil
	}
	differences := in.policy.rules.Counting(desired, drift.Compare(desired, live))
	if len(differences) == 0 {
		return f, nil
	}
	digest := differences.Digest()
	if known, ok := in.known[in.indexes[n]]; ok && known.digest == digest && !(known.modified && in.due(n)) {
		f.be(known)
		return f, nil
	}
	return in.ask(ctx, n, f, differences)
}

func (in *inspection) takesOver() bool { return in.policy.correct && in.policy.takes }

// due says whether an object is to be corrected now, if it has drifted.
func (in *inspection) due(n int) bool {
	return in.policy.correct && !in.c.clock.Now().Before(in.struggles[in.indexes[n]].Due())
}

// be says of the object what a verdict does.
func (f *finding) be(v verdict) {
	f.Modified, f.Patch, f.Note = v.modified, v.patch, v.note
	f.verdict = &v
}

// ask asks the API server what the differences mean.
func (in *inspection) ask(ctx context.Context, n int, f finding, differences drift.Differences) (finding, error) {
	account, err := in.account()
	if err != nil {
		return finding{}, err
	}
	desired := in.desired[n]
	answer, err := in.c.deps.Releases.Predict(ctx, release.Question{ServiceAccount: account, Desired: desired, Live: f.live})
	in.c.deps.Metrics.asked(err)
	switch {
	case errors.Is(err, release.ErrGone):
		return in.judge(ctx, n, nil)
	case errors.As(err, &f.refused):
		in.guess(n, &f, differences)
		return f, nil
	case err != nil:
		return finding{}, fmt.Errorf("judging %s: %w", f.Object, err)
	}
	if answer.Live.GetResourceVersion() != f.live.GetResourceVersion() {
		// It changed meanwhile.
		differences = in.policy.rules.Counting(desired, drift.Compare(desired, answer.Live))
		f.Observation = observe(in.object(n), answer.Live, in.release.Key, in.policy.ignored)
	}
	f.live = answer.Live
	v := verdict{digest: differences.Digest()}
	if between := drift.Between(answer.Live, answer.Predicted, in.policy.rules); between != nil {
		v.modified, v.patch, f.restoring = true, between.Text, between.Restoring
	}
	f.be(v)
	return f, nil
}

// guess judges an object by its differences alone, where the API server does
// not tell what they mean.
func (in *inspection) guess(n int, f *finding, differences drift.Differences) {
	v := verdict{digest: differences.Digest()}
	if local := drift.Local(f.live, differences); local != nil {
		v.modified, v.patch = true, local.Text
		v.note = "the API server refuses to say what it should be: " + f.refused.Error()
		if apierrors.IsForbidden(f.refused.Err) {
			v.note += "; allow the service account of the deployment to get and patch it"
		}
	}
	f.be(v)
	if f.refused.Passing() {
		f.verdict = nil
		in.again(n, f, "")
	}
}

// again has the object looked at again after a wait that grows.
func (in *inspection) again(n int, f *finding, why string) {
	s := in.struggles[in.indexes[n]]
	s.Bout, s.note = s.Failed(in.c.clock.Now()), why
	f.struggle, f.due = &s, s.Due()
}
