package targeting

import (
	"fmt"
	"slices"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Outcome says whether a bundle is deployed to a cluster.
type Outcome int

const (
	// Unknown: something that cannot be evaluated could have turned the answer.
	Unknown Outcome = iota
	// Matched: a target matches, and a restriction where there are any.
	Matched
	// Unmatched: no target matches, or no restriction.
	Unmatched
	// Excluded: a target that matches says doNotDeploy.
	Excluded
)

// Decision is the answer for one cluster.
type Decision struct {
	Outcome Outcome
	// TargetName is the name of the target that decided, or target%03d.
	TargetName string
	// Customizations are the targets whose options hold, in order.
	Customizations []*fleet.BundleTarget
	// Reason is one CamelCase word, Message says it to a person.
	Reason, Message string
}

// Problem is something wrong with the targets themselves.
type Problem struct {
	// Field is where it stands, Message what is wrong and what to do.
	Field, Message string
}

// Matcher answers for the clusters of one namespace.
type Matcher struct {
	spec         *fleet.BundleSpec
	all          bool
	targets      []criteria
	restrictions []criteria
	problems     []Problem
	groups       []string
	usesGroups   bool
}

// Compile prepares the targets of a bundle for the clusters of one namespace.
// groups are the ClusterGroups of that namespace.
func Compile(_ string, spec *fleet.BundleSpec, groups []*fleet.ClusterGroup) *Matcher {
	m := &Matcher{spec: spec, all: spec.TargetCustomizationMode == fleet.AllMatches}
	c := &compiler{groups: compileGroups(groups)}
	for i := range spec.Targets {
		s := fromTarget(i, &spec.Targets[i])
		m.targets = append(m.targets, c.compile(s))
		m.use(s)
	}
	for i := range spec.TargetRestrictions {
		s := fromRestriction(i, &spec.TargetRestrictions[i])
		m.restrictions = append(m.restrictions, c.compile(s))
		m.use(s)
	}
	m.problems = distinct(c.problems)
	return m
}

func (m *Matcher) use(s source) {
	m.usesGroups = m.usesGroups || s.clusterGroup != "" || s.groupsByLabel != nil
	if s.clusterGroup != "" && !slices.Contains(m.groups, s.clusterGroup) {
		m.groups = append(m.groups, s.clusterGroup)
	}
}

// distinct drops problems that say the same: restrictions are a copy of
// targets.
func distinct(problems []Problem) []Problem {
	var kept []Problem
	for _, p := range problems {
		if !slices.ContainsFunc(kept, func(k Problem) bool { return k.Message == p.Message }) {
			kept = append(kept, p)
		}
	}
	return kept
}

// Problems returns what is wrong with the targets.
func (m *Matcher) Problems() []Problem { return m.problems }

// Groups returns the names of the groups that the targets name.
func (m *Matcher) Groups() []string { return m.groups }

// UsesGroups says whether any answer depends on groups.
func (m *Matcher) UsesGroups() bool { return m.usesGroups }

// Match says whether the bundle is deployed to the cluster, and with which
// customizations.
func (m *Matcher) Match(cluster *fleet.Cluster) Decision {
	if m.all {
		return m.matchAll(cluster)
	}
	return m.matchFirst(cluster)
}

// matchFirst lets the first target that matches decide.
func (m *Matcher) matchFirst(cluster *fleet.Cluster) Decision {
	for i := range m.targets {
		switch m.targets[i].ask(cluster) {
		case no:
		case unknown:
			// A later target may match, but this one may have come first.
			return undecided(m.name(i))
		case yes:
			return m.decide(cluster, []int{i})
		}
	}
	return unmatched("NoTargetMatches", "no target matches the cluster")
}

// matchAll folds all targets that match.
func (m *Matcher) matchAll(cluster *fleet.Cluster) Decision {
	var matching []int
	for i := range m.targets {
		switch m.targets[i].ask(cluster) {
		case no:
		case unknown:
			return undecided(m.name(i))
		case yes:
			matching = append(matching, i)
		}
	}
	if len(matching) == 0 {
		return unmatched("NoTargetMatches", "no target matches the cluster")
	}
	return m.decide(cluster, matching)
}

// decide applies doNotDeploy and the restrictions to the targets that match.
func (m *Matcher) decide(cluster *fleet.Cluster, matching []int) Decision {
	d := Decision{Outcome: Matched, TargetName: m.name(matching[0]), Reason: "TargetMatches"}
	for _, i := range matching {
		if m.spec.Targets[i].DoNotDeploy {
			name := m.name(i)
			return Decision{
				Outcome: Excluded, TargetName: name, Reason: "DoNotDeploy",
				Message: fmt.Sprintf("target %s says doNotDeploy", name),
			}
		}
		d.Customizations = append(d.Customizations, &m.spec.Targets[i])
	}
	switch m.permitted(cluster) {
	case no:
		return unmatched("Restricted", "a target matches the cluster, but no target of the GitRepo does")
	case unknown:
		return undecided("targetRestrictions")
	case yes:
	}
	d.Message = "target " + d.TargetName + " matches the cluster"
	return d
}

// permitted says whether the cluster passes the allow-list.
func (m *Matcher) permitted(cluster *fleet.Cluster) answer {
	if len(m.restrictions) == 0 {
		return yes
	}
	result := no
	for i := range m.restrictions {
		result = result.or(m.restrictions[i].ask(cluster))
	}
	return result
}

func (m *Matcher) name(i int) string {
	if name := m.spec.Targets[i].Name; name != "" {
		return name
	}
	return names.Target(i)
}

func unmatched(reason, message string) Decision {
	return Decision{Outcome: Unmatched, Reason: reason, Message: message}
}

func undecided(target string) Decision {
	return Decision{
		Outcome: Unknown, Reason: "Undecided",
		Message: "target " + target + " cannot be evaluated, so the cluster keeps what it has",
	}
}
