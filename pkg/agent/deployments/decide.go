package deployments

import (
	"fmt"
	"slices"
	"strings"
	"time"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// Step is what is to be done about a deployment.
type Step string

const (
	// StepLeave: do nothing but report on what is there.
	StepLeave Step = "Leave"
	// StepWait: do nothing until the event comes that the reason tells.
	StepWait Step = "Wait"
	// StepDeploy: bring the release to what is asked for.
	StepDeploy Step = "Deploy"
	// StepMonitor: the release is what is asked for; report how it fares.
	StepMonitor Step = "Monitor"
	// StepRemove: look which releases there are, get evidence and, if it allows, remove them. When there are none left,
	// say so.
	StepRemove Step = "Remove"
)

// Reasons of decisions, and of conditions that come of them.
const (
	ReasonNoFinalizer          = "NoFinalizer"
	ReasonPaused               = "Paused"
	ReasonUnmanaged            = "Unmanaged"
	ReasonOffSchedule          = "OffSchedule"
	ReasonNothingAsked         = "NothingAsked"
	ReasonWaitingForValues     = "WaitingForValues"
	ReasonWaitingForDependency = "WaitingForDependency"
	ReasonWaitingForDependents = "WaitingForDependents"
	ReasonRetryLater           = "RetryLater"
	ReasonReleased             = "Released"
)

// World is what a decision about a deployment is made from.
type World struct {
	Deployment *fleet.BundleDeployment
	// Owner is the deployment as releases record it.
	Owner release.Owner
	// Records are the newest ones of every release of the deployment.
	Records []release.Record
	// Copies are those of the deployment.
	Copies CopiesSeen
	// Self is the deployment, and Others are its neighbours, as dependencies see them.
	Self   Neighbour
	Others []Neighbour
	// Last is how the last attempt to deploy ended, if it failed.
	Last *Attempt
	// Unmanaged says that the deployment is the agent's own, and that whoever installed the agent keeps it to themselves.
	Unmanaged bool
	// Now is the time of the decision.
	Now time.Time
}

// Attempt is a failed attempt to deploy.
type Attempt struct {
	// Inputs identify what was tried: see World.inputs.
	Inputs string
	// Failures in a row with these inputs.
	Failures int
	// Failed is when the last of them was, Next is when to try again.
	Failed, Next time.Time
}

// due says whether it is time to try again. Before the failure is not in
// between: a clock that was set back must not make the wait longer.
func (a *Attempt) due(now time.Time) bool { return now.Before(a.Failed) || !now.Before(a.Next) }

// Decision is what to do about a deployment, and why.
type Decision struct {
	Step    Step
	Reason  string
	Message string
	// Wanted is the release that is asked for, Elsewhere are those that the deployment has under other names.
	Wanted    release.Key
	Elsewhere []release.Key
	// Current is the record of the wanted release, if there is one.
	Current *release.Record
	// Adopt are releases that are the deployment's, but say that they are an earlier one's of its name. Where nothing
	// else is done they are to be claimed all the same: else they would be nobody's when the deployment goes.
	Adopt []release.Key
	// Recheck, if not zero, is when to decide again.
	Recheck time.Duration
	// Copy says that the copies are to be brought to what the hub says; the release is as it should be.
	Copy bool
}

// Decide decides what to do about a deployment.
func Decide(w World) Decision {
	d := Decision{Wanted: releaseKey(w.Deployment.Name, &w.Deployment.Spec.Options)}
	for _, record := range w.Records {
		if record.Key == d.Wanted {
			d.Current = &record
		} else if record.BelongsTo(w.Owner) {
			d.Elsewhere = append(d.Elsewhere, record.Key)
		}
	}
	d.Step = StepDeploy
	for _, check := range checks() {
		if check(w, &d) {
			break
		}
	}
	if (d.Step == StepLeave || d.Step == StepWait) && heldByUs(w.Deployment) && w.Deployment.DeletionTimestamp == nil {
		d.Adopt = inherited(w)
	}
	return d
}

// heldByUs says whether the deployment will wait for the agent when it goes.
func heldByUs(bd *fleet.BundleDeployment) bool {
	return slices.Contains(bd.Finalizers, names.FinalizerDeployment)
}

func inherited(w World) []release.Key {
	var keys []release.Key
	for _, record := range w.Records {
		if record.InheritedBy(w.Owner) {
			keys = append(keys, record.Key)
		}
	}
	return keys
}

// A check decides, or leaves it to the next one.
type check func(World, *Decision) bool

func checks() []check {
	return []check{
		whenReleased, whileRemoving, withoutFinalizer, whileHeld, whenInSync, withoutValues, whileUnmet, afterFailure,
	}
}

// whenReleased: the hub has let go of a deployment that is marked for deletion,
// and something else still holds it. Nothing of it is removed any more: the hub
// makes it anew, or its cluster has left.
func whenReleased(w World, d *Decision) bool {
	if w.Deployment.DeletionTimestamp == nil || heldByUs(w.Deployment) {
		return false
	}
	d.Step, d.Reason = StepLeave, ReasonReleased
	return true
}

// whileRemoving: a deployment that is marked for deletion is removed, once
// those that depend on it are.
func whileRemoving(w World, d *Decision) bool {
	if w.Deployment.DeletionTimestamp == nil {
		return false
	}
	if afterFailure(w, d) {
		return true
	}
	d.Step = StepRemove
	due, _ := w.claims(w.Records)
	if waiting := dependents(w.Self, w.Others); len(due) > 0 && len(waiting) > 0 {
		d.Step, d.Reason = StepWait, ReasonWaitingForDependents
		d.Message = fmt.Sprintf("waiting for what depends on it to be removed: %s", strings.Join(waiting, ", "))
	}
	return true
}

// claims parts the releases that bear the deployment's name into those that are
// its own, and those of an earlier deployment of the name. The former were made
// for the deployment, or for one that the hub says it has taken the place of;
// the latter are unclaimed: they stay when the deployment goes.
func (w World) claims(records []release.Record) (due, unclaimed []release.Record) {
	for _, record := range records {
		if record.BelongsTo(w.Owner) && ownership.Succeeds(w.Owner.UID, w.Deployment.Annotations, record.UID) {
			due = append(due, record)
		} else {
			unclaimed = append(unclaimed, record)
		}
	}
	return due, unclaimed
}

// withoutFinalizer: nothing is installed that the hub could not ask to have
// removed.
func withoutFinalizer(w World, d *Decision) bool {
	if heldByUs(w.Deployment) {
		return false
	}
	d.Step, d.Reason = StepLeave, ReasonNoFinalizer
	d.Message = "waiting for the hub to put its finalizer on the deployment"
	return true
}

// whileHeld: somebody said not to touch it, or did not say what to do yet.
func whileHeld(w World, d *Decision) bool {
	spec := &w.Deployment.Spec
	switch missing := unsupported(spec); {
	case w.Unmanaged:
		d.Reason, d.Message = ReasonUnmanaged, "the agent was installed to be left alone: update it where it was installed, or set managed in its chart"
	case spec.Paused:
		d.Reason, d.Message = ReasonPaused, "paused: nothing is changed in the cluster until it is resumed"
	case spec.OffSchedule:
		d.Reason, d.Message = ReasonOffSchedule, "waiting for the schedule of the cluster"
	case spec.DeploymentID == "":
		d.Reason, d.Message = ReasonNothingAsked, "waiting for the hub to say what to deploy"
	case missing != "":
		d.Reason = fleet.ReasonNotImplemented
		d.Message = "the deployment uses what this version cannot do: " + missing
	default:
		return false
	}
	d.Step = StepLeave
	return true
}

// whenInSync: the record says that all is as it should be.
func whenInSync(w World, d *Decision) bool {
	o := helmOptions(&w.Deployment.Spec.Options)
	state := release.Assess(release.Situation{
		Owner: w.Owner, Digest: release.Digest(fingerprint(w.Deployment)), TakeOwnership: o.TakeOwnership,
		Latest: d.Current, Elsewhere: len(d.Elsewhere) > 0,
	})
	if state != release.InSync {
		return false
	}
	d.Step = StepMonitor
	whenCopiesAreDue(w, d)
	return true
}

func withoutValues(w World, d *Decision) bool {
	if !w.Deployment.Spec.WaitingForValues {
		return false
	}
	d.Step, d.Reason = StepWait, ReasonWaitingForValues
	d.Message = "waiting for the hub to write the Secret with the values"
	return true
}

func whileUnmet(w World, d *Decision) bool {
	reasons := unmet(w.Self, w.Others)
	if len(reasons) == 0 {
		return false
	}
	d.Step, d.Reason, d.Message = StepWait, ReasonWaitingForDependency, strings.Join(reasons, "; ")
	return true
}

// afterFailure: the same attempt is not made again before its time, whatever
// else happens in the meantime.
func afterFailure(w World, d *Decision) bool {
	if w.Last == nil || w.Last.Inputs != w.inputs() || w.Last.due(w.Now) {
		return false
	}
	d.Step, d.Reason, d.Recheck = StepWait, ReasonRetryLater, w.Last.Next.Sub(w.Now)
	return true
}

// inputs identifies everything that the hub says about what to deploy: when it
// changes, a failed attempt is worth repeating at once.
func (w World) inputs() string {
	return fmt.Sprintf("%s/%d/%s", w.Deployment.UID, w.Deployment.Generation, w.Deployment.Spec.DeploymentID)
}

// Times to wait after failures.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// lastGlance is the longest wait after a failure that changed nothing in the cluster, and that somebody is likely to
	// put right: an attempt costs a few reads.
	lastGlance = 15 * time.Second
)

// Failed returns the attempt that follows last, which failed now: it waits
// twice as long as the one before. share, in [0, 1), spreads the attempts of
// many deployments that failed at the same time. most is the longest wait.
func (w World) Failed(now time.Time, most time.Duration, share float64) *Attempt {
	attempt := &Attempt{Inputs: w.inputs(), Failures: 1}
	if w.Last != nil && w.Last.Inputs == attempt.Inputs {
		attempt.Failures = w.Last.Failures + 1
	}
	wait := most
	if shift := attempt.Failures - 1; shift < 16 {
		wait = min(firstRetry<<shift, most)
	}
	attempt.Failed = now
	attempt.Next = now.Add(wait + time.Duration(share*0.1*float64(wait)))
	return attempt
}
