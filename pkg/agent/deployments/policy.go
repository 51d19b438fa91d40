package deployments

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/drift"
	"github.com/flotilla-gitops/flotilla/pkg/kube/watchset"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// policy is by what objects are judged, and what is done about drift.
type policy struct {
	ignored []map[string]string
	rules   drift.Rules
	// problem says what of the rules cannot be understood.
	problem string
	// correct says that drift is corrected, force that what cannot be changed is made anew, and takes that what belongs
	// to others is taken over.
	correct, force, takes bool
	// digest is the same for policies that judge the same.
	digest string
}

// policyOf returns the policy of a deployment. What is not in sync is not
// corrected.
func policyOf(bd *fleet.BundleDeployment, inSync bool) policy {
	o := &bd.Spec.Options
	p := policy{ignored: ignoredConditions(bd), takes: helmOptions(o).TakeOwnership}
	correct := bd.Spec.CorrectDrift
	if correct == nil {
		correct = o.CorrectDrift
	}
	if correct != nil && inSync {
		p.correct, p.force = correct.Enabled, correct.Enabled && correct.Force
	}
	var patches []fleet.ComparePatch
	if o.Diff != nil {
		patches = o.Diff.ComparePatches
	}
	rules, err := drift.NewRules(patches)
	if p.rules = rules; err != nil {
		p.problem = err.Error()
	}
	// What came as JSON can be encoded as JSON.
	digest, _ := json.Marshal([]any{p.ignored, patches, p.correct, p.force, p.takes})
	p.digest = string(digest)
	return p
}

// judged is what is remembered of the drift of a release's objects, by their
// index. All of it can be lost.
type judged struct {
	policy string
	// verdicts are those for which the API server was asked, or would have been.
	verdicts map[int]verdict
	// struggles are those about objects that were corrected.
	struggles map[int]struggle
	// due is when to look at an object again, whether or not it changes.
	due map[int]time.Time
	// extras are objects that nobody asks for.
	extras map[place]Observation
}

// verdict is what differences turned out to mean.
type verdict struct {
	digest   uint64
	modified bool
	patch    string
	note     string
}

// struggle is a bout, and what is said of it: who changes the object back, or
// why the last correction failed.
type struggle struct {
	drift.Bout
	note string
}

func newJudged(policy string) *judged {
	return &judged{
		policy: policy, verdicts: map[int]verdict{}, struggles: map[int]struggle{}, due: map[int]time.Time{},
		extras: map[place]Observation{},
	}
}

// under has everything judged anew if it was judged by another policy.
func (r *remembered) under(p policy) {
	if r.judged != nil && r.judged.policy == p.digest {
		return
	}
	r.judged = newJudged(p.digest)
	for i := range r.seen {
		r.stale[i] = true
	}
}

// toLookAt returns the objects that are to be read, and those whose time has
// come.
func (r *remembered) toLookAt(now time.Time, starting map[watchset.Resource]error) []int {
	for i, at := range r.judged.due {
		if !now.Before(at) {
			r.stale[i] = true
			delete(r.judged.due, i)
		}
	}
	for i, s := range r.judged.struggles {
		if s.Over(now) {
			delete(r.judged.struggles, i)
		}
	}
	return r.toRead(r.at, starting)
}

// found notes what was found of objects, and says what was corrected.
func (r *remembered) found(indexes []int, found []finding) string {
	var corrected []string
	freed := false
	for n, i := range indexes {
		f := found[n]
		r.seen[i] = f.Observation
		delete(r.judged.verdicts, i)
		if f.verdict != nil {
			r.judged.verdicts[i] = *f.verdict
		}
		if f.struggle != nil {
			r.judged.struggles[i] = *f.struggle
		}
		delete(r.judged.due, i)
		if !f.due.IsZero() {
			r.judged.due[i] = f.due
		}
		if f.corrected != "" {
			corrected = append(corrected, f.corrected)
			freed = freed || f.Object.Kind == "Namespace"
		}
	}
	if freed {
		r.retry()
		for i := range r.stale {
			r.judged.due[i] = time.Time{}
		}
	}
	if more := len(corrected) - maxLines; more > 0 {
		corrected = append(corrected[:maxLines], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(corrected, "; ")
}

// next returns how long it is until an object is to be looked at again; zero if
// none is.
func (j *judged) next(now time.Time) time.Duration {
	var wait time.Duration
	for _, at := range j.due {
		if until := max(at.Sub(now), time.Millisecond); wait == 0 || until < wait {
			wait = until
		}
	}
	return wait
}

// turns says whether an event makes an object an extra one, or makes it none.
func (j *judged) turns(at place, e watchset.Event) bool {
	_, known := j.extras[at]
	return known != (e.Marked && !e.Gone)
}

// retry has what is missing looked at again at once: what it waited for may
// have come.
func (r *remembered) retry() {
	if r.judged == nil {
		return
	}
	for i, o := range r.seen {
		if o.Health == Missing {
			r.stale[i] = true
			delete(r.judged.struggles, i)
			delete(r.judged.due, i)
		}
	}
}

// Standalone says whether an object with our label is one that is there because
// somebody applied it: controllers copy labels to what they own, hooks are
// Helm's business, and what its manifest asks to be kept may outlive its
// release.
func Standalone(object *metav1.PartialObjectMetadata) bool {
	id := object.Annotations[names.AnnotationObjectSetID]
	return id != "" && names.ObjectSetHash(id) == object.Labels[names.LabelObjectSetHash] &&
		len(object.OwnerReferences) == 0 && !release.IsHook(object) && !release.Keeps(object)
}
