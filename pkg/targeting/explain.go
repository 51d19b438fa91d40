package targeting

import (
	"cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Answer is what a part of the targets says of a cluster.
type Answer string

// Answers.
const (
	AnswerYes Answer = "yes"
	AnswerNo  Answer = "no"
	// AnswerUnknown: something that is missing or does not parse leaves it open.
	AnswerUnknown Answer = "unknown"
)

// Explanation says how a decision came about, down to every criterion. It is
// made of the answers that the decision is made of.
type Explanation struct {
	Decision Decision
	// Mode is FirstMatch or AllMatches.
	Mode fleet.TargetCustomizationMode
	// Targets are all targets of the bundle, in order, and Restrictions all of
	// its restrictions, whether the decision rests on them or not.
	Targets, Restrictions []Clause
	// Permitted is what the restrictions come to; yes where there are none.
	Permitted Answer
}

// Clause is one target or one restriction, and what it says of a cluster.
type Clause struct {
	// Field is where it stands, such as "spec.targets[0]".
	Field string `json:"field"`
	// Name is its name; a target without one is called target%03d.
	Name string `json:"name,omitempty"`
	// Answer is yes only if all criteria say yes. Without any criterion it is no.
	Answer Answer `json:"answer"`
	// DoNotDeploy says that a target which matches excludes the cluster.
	DoNotDeploy bool `json:"doNotDeploy,omitempty"`
	// Decides says that the decision rests on this clause: it is the target that
	// matches, or one of them, or what keeps the answer open.
	Decides bool `json:"decides,omitempty"`
	// Criteria are what it asks for.
	Criteria []Criterion `json:"criteria,omitempty"`
}

// Criterion is one thing that a clause asks of a cluster.
type Criterion struct {
	// Field is clusterName, clusterSelector, clusterGroup or clusterGroupSelector.
	Field string `json:"field"`
	// Asks is what is asked for: a name, a selector or, where a clause names a
	// group as well as labels that the group must have, both.
	Asks   string `json:"asks"`
	Answer Answer `json:"answer"`
	// Message says to a person where the answer comes from.
	Message string `json:"message"`
}

// Explain says whether the bundle is deployed to the cluster, as Match does,
// and why: what every target and every restriction says, and which of them
// the decision rests on.
func (m *Matcher) Explain(cluster *fleet.Cluster) Explanation {
	e := Explanation{
		Decision:  m.Match(cluster),
		Mode:      cmp.Or(m.spec.TargetCustomizationMode, fleet.FirstMatch),
		Permitted: m.permitted(cluster).public(),
	}
	answers := make([]answer, len(m.targets))
	for i := range m.targets {
		answers[i] = m.targets[i].ask(cluster)
		clause := m.targets[i].clause(fromTarget(i, &m.spec.Targets[i]), cluster)
		clause.Name, clause.DoNotDeploy = m.targets[i].matched.TargetName, m.spec.Targets[i].DoNotDeploy
		e.Targets = append(e.Targets, clause)
	}
	for _, i := range m.deciders(answers) {
		e.Targets[i].Decides = true
	}
	for i := range m.restrictions {
		clause := m.restrictions[i].clause(fromRestriction(i, &m.spec.TargetRestrictions[i]), cluster)
		clause.Name = cmp.Or(m.spec.TargetRestrictions[i].Name, names.Target(i))
		// What restricts is that none of them matches; what permits is any.
		clause.Decides = clause.Answer != AnswerNo && clause.Answer == e.Permitted
		e.Restrictions = append(e.Restrictions, clause)
	}
	return e
}

// public returns the answer as it is shown.
func (a answer) public() Answer {
	switch a {
	case yes:
		return AnswerYes
	case unknown:
		return AnswerUnknown
	case no:
	}
	return AnswerNo
}

// deciders returns the indexes of the targets that the decision among targets
// rests on.
func (m *Matcher) deciders(answers []answer) []int {
	all := m.spec.TargetCustomizationMode == fleet.AllMatches
	var matching, doubts []int
	outcome := notDeployed
scan:
	for i, a := range answers {
		switch {
		case a == no:
		case a == unknown:
			doubts = append(doubts, i)
		case all && m.spec.Targets[i].DoNotDeploy:
			return []int{i}
		default:
			matching = append(matching, i)
			outcome = m.targets[i].effect
			if all {
				outcome = asTheBundleSays
				continue
			}
			break scan
		}
	}
	var open []int
	for _, i := range doubts {
		if m.targets[i].effect != outcome {
			open = append(open, i)
		}
	}
	if len(open) > 0 {
		return open
	}
	return matching
}

// clause asks every criterion on its own, of the same code that asks all of
// them together.
func (c *criteria) clause(s source, cluster *fleet.Cluster) Clause {
	clause := Clause{Field: s.field, Answer: c.ask(cluster).public()}
	if c.clusterName != "" {
		alone := criteria{clusterName: c.clusterName}
		clause.Criteria = append(clause.Criteria, alone.byName(s, cluster))
	}
	if c.bySelector {
		alone := criteria{bySelector: true, selector: c.selector}
		clause.Criteria = append(clause.Criteria, alone.byLabels(s, cluster))
	}
	if c.byGroup {
		alone := criteria{byGroup: true, groups: c.groups, missing: c.missing}
		clause.Criteria = append(clause.Criteria, alone.byMembership(s, cluster))
	}
	return clause
}
