package targeting

import (
	"encoding/json"
	"slices"
	"strconv"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// effect is what it comes to that a target decides about a cluster. Targets
// with the same effect are interchangeable.
type effect int

const (
	// notDeployed is the effect of doNotDeploy, and that of no target at all.
	notDeployed effect = iota
	// asTheBundleSays is the effect of a target without options of its own.
	asTheBundleSays
	// firstCustom is the first of the effects that targets with options have.
	firstCustom
)

// target is a target ready to be asked, with the decisions it can lead to made
// beforehand: most clusters cost no allocation.
type target struct {
	criteria
	effect   effect
	matched  Decision
	excluded Decision
	doubt    Decision
}

func newTarget(spec *fleet.BundleSpec, i int, c criteria) target {
	name := spec.Targets[i].Name
	if name == "" {
		name = names.Target(i)
	}
	return target{
		criteria: c,
		matched: Decision{
			Outcome: Matched, TargetName: name, Reason: ReasonTargetMatches, Message: "target " + name + " matches the cluster",
			Customizations: []*fleet.BundleTarget{&spec.Targets[i]}, Key: strconv.Itoa(i),
		},
		excluded: Decision{
			Outcome: Excluded, TargetName: name, Reason: ReasonDoNotDeploy, Message: "target " + name + " says doNotDeploy",
		},
		doubt: undecided("target " + name),
	}
}

// setEffects finds out which targets are interchangeable. That matters, and
// costs, only where some target cannot be evaluated.
func setEffects(spec *fleet.BundleSpec, targets []target) {
	known := map[string]effect{optionsKey(&fleet.BundleDeploymentOptions{}): asTheBundleSays}
	for i := range targets {
		if spec.Targets[i].DoNotDeploy {
			targets[i].effect = notDeployed
			continue
		}
		key := optionsKey(&spec.Targets[i].BundleDeploymentOptions)
		if _, ok := known[key]; !ok {
			known[key] = firstCustom + effect(len(known))
		}
		targets[i].effect = known[key]
	}
}

// optionsKey returns a text that is the same for the same options.
func optionsKey(o *fleet.BundleDeploymentOptions) string {
	raw, err := json.Marshal(o)
	if err != nil {
		// Options that cannot be written down came from no API server. No two
		// of them are taken to be the same.
		return err.Error()
	}
	return string(raw)
}

// first lets the first target that matches decide. A target in front of it
// that cannot be evaluated leaves the answer open, unless it would have come
// to the same.
func (m *Matcher) first(cluster *fleet.Cluster) Decision {
	decision, decided := noTarget(), notDeployed
	var doubts []*target
scan:
	for i := range m.targets {
		t := &m.targets[i]
		switch t.ask(cluster) {
		case no:
		case unknown:
			doubts = append(doubts, t)
		case yes:
			decision, decided = t.matched, t.effect
			if m.spec.Targets[i].DoNotDeploy {
				decision = t.excluded
			}
			break scan
		}
	}
	for _, t := range doubts {
		if t.effect != decided {
			return t.doubt
		}
	}
	return decision
}

// all folds all targets that match; any of them can exclude the cluster. A
// target that cannot be evaluated leaves the answer open, unless it could not
// have turned it.
func (m *Matcher) all(cluster *fleet.Cluster) Decision {
	decision := noTarget()
	var doubts []*target
	for i := range m.targets {
		t := &m.targets[i]
		switch t.ask(cluster) {
		case no:
		case unknown:
			doubts = append(doubts, t)
		case yes:
			if m.spec.Targets[i].DoNotDeploy {
				return t.excluded
			}
			if decision.Outcome != Matched {
				decision = t.matched
				continue
			}
			// Not appended: the list is the first target's own.
			decision.Customizations = slices.Concat(decision.Customizations, t.matched.Customizations)
			decision.Key += "," + t.matched.Key
		}
	}
	harmless := notDeployed
	if decision.Outcome == Matched {
		harmless = asTheBundleSays
	}
	for _, t := range doubts {
		if t.effect != harmless {
			return t.doubt
		}
	}
	return decision
}

func noTarget() Decision {
	return Decision{Outcome: Unmatched, Reason: ReasonNoTargetMatches, Message: "no target matches the cluster"}
}

func restricted() Decision {
	return Decision{
		Outcome: Unmatched, Reason: ReasonRestricted,
		Message: "a target matches the cluster, but none of the targets that the bundle is restricted to does",
	}
}

func undecided(what string) Decision {
	return Decision{
		Outcome: Unknown, Reason: ReasonUndecided,
		Message: what + " cannot be evaluated, so the cluster keeps what it has",
	}
}
