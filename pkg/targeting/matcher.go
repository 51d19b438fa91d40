package targeting

import (
	"slices"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
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

// Reasons of decisions.
const (
	ReasonTargetMatches   = "TargetMatches"
	ReasonNoTargetMatches = "NoTargetMatches"
	ReasonRestricted      = "Restricted"
	ReasonDoNotDeploy     = "DoNotDeploy"
	ReasonUndecided       = "Undecided"
)

// Decision is the answer for one cluster. Its slice is shared by all of a
// Matcher's decisions: read it only.
type Decision struct {
	Outcome Outcome
	// TargetName is the name of the target that decided, or target%03d.
	TargetName string
	// Customizations are the targets whose options hold, in order. Key is the
	// same for two decisions of one Matcher exactly if they are.
	Customizations []*fleet.BundleTarget
	Key            string
	// Reason is one CamelCase word, Message says it to a person.
	Reason, Message string
}

// Problem is something wrong with the targets themselves.
type Problem struct {
	// Field is where it stands, Message what is wrong and what to do.
	Field, Message string
}

// Matcher answers for the clusters of one namespace. It is safe for concurrent
// use.
type Matcher struct {
	spec         *fleet.BundleSpec
	targets      []target
	restrictions []criteria
	partitions   []criteria
	problems     []Problem
	groups       []string
	usesGroups   bool
}

// Compile prepares the targets of a bundle for the clusters of one namespace.
// groups are the ClusterGroups of that namespace, of which only the messages
// of problems speak: namespace is what they call it. The spec must not change
// while the Matcher is in use.
func Compile(namespace string, spec *fleet.BundleSpec, groups []*fleet.ClusterGroup) *Matcher {
	m := &Matcher{spec: spec}
	c := &compiler{namespace: namespace, groups: compileGroups(groups)}
	for i := range spec.Targets {
		s := fromTarget(i, &spec.Targets[i])
		m.targets = append(m.targets, newTarget(spec, i, c.compile(s)))
		m.use(s)
	}
	for i := range spec.TargetRestrictions {
		s := fromRestriction(i, &spec.TargetRestrictions[i])
		m.restrictions = append(m.restrictions, c.compile(s))
		m.use(s)
	}
	if len(c.problems) > 0 {
		setEffects(spec, m.targets)
	}
	m.compilePartitions(c)
	slices.Sort(m.groups)
	m.problems = distinct(c.problems)
	return m
}

func (m *Matcher) use(s source) {
	m.usesGroups = m.usesGroups || s.clusterGroup != "" || s.groupsByLabel != nil
	if s.clusterGroup != "" && !slices.Contains(m.groups, s.clusterGroup) {
		m.groups = append(m.groups, s.clusterGroup)
	}
}

// compilePartitions prepares the partitions of the roll-out. What cannot be
// evaluated there turns no answer of Match: it is a problem, and the clusters
// fall into the partition of the rest.
func (m *Matcher) compilePartitions(c *compiler) {
	if m.spec.RolloutStrategy == nil {
		return
	}
	for i := range m.spec.RolloutStrategy.Partitions {
		s := fromPartition(i, &m.spec.RolloutStrategy.Partitions[i])
		m.partitions = append(m.partitions, c.compile(s))
		m.use(s)
	}
}

// NoPartition is the partition of a cluster that none matches.
const NoPartition = -1

// Partition returns the index of the first of spec.rolloutStrategy.partitions
// that the cluster matches, or NoPartition.
func (m *Matcher) Partition(cluster *fleet.Cluster) int {
	for i := range m.partitions {
		if m.partitions[i].ask(cluster) == yes {
			return i
		}
	}
	return NoPartition
}

// distinct drops problems that say the same: restrictions are a copy of
// targets.
func distinct(problems []Problem) []Problem {
	seen := map[string]bool{}
	return slices.DeleteFunc(problems, func(p Problem) bool {
		again := seen[p.Message]
		seen[p.Message] = true
		return again
	})
}

// Problems returns what is wrong with the targets, in their order.
func (m *Matcher) Problems() []Problem { return slices.Clone(m.problems) }

// Groups returns the names of the groups that the targets name, sorted.
func (m *Matcher) Groups() []string { return slices.Clone(m.groups) }

// UsesGroups says whether any answer depends on groups.
func (m *Matcher) UsesGroups() bool { return m.usesGroups }

// Match says whether the bundle is deployed to the cluster, and with which
// customizations.
func (m *Matcher) Match(cluster *fleet.Cluster) Decision {
	var decision Decision
	if m.spec.TargetCustomizationMode == fleet.AllMatches {
		decision = m.all(cluster)
	} else {
		decision = m.first(cluster)
	}
	if decision.Outcome == Unmatched || decision.Outcome == Excluded {
		return decision
	}
	switch m.permitted(cluster) {
	case no:
		return restricted()
	case unknown:
		return undecided("the list of clusters that the bundle is restricted to")
	case yes:
	}
	return decision
}

// permitted says whether the cluster passes the allow-list.
func (m *Matcher) permitted(cluster *fleet.Cluster) answer {
	if len(m.restrictions) == 0 {
		return yes
	}
	result := no
	for i := range m.restrictions {
		if result = max(result, m.restrictions[i].ask(cluster)); result == yes {
			break
		}
	}
	return result
}
