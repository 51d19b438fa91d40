// Package policy decides what GitRepos and Bundles of a workspace may do.
//
// The rules of a workspace are what all its GitRepoRestrictions and Policies
// add up to: what one of them demands is demanded, and their lists are joined.
// A list that is empty allows everything. Defaults are filled in first, then
// what is there is checked. What breaks a rule is refused: nothing new of it is
// deployed, and nothing that runs is removed.
package policy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Rules are what holds in a workspace. The zero value allows everything.
type Rules struct {
	requireServiceAccount  bool
	allowNamespaceCreation bool
	serviceAccounts        allowed
	// restricted are the service accounts that GitRepos may name beside these.
	restricted    allowed
	clientSecrets allowed
	patterns      []pattern
	namespaces    allowed
	selector      *metav1.LabelSelector

	defaultServiceAccount, defaultClientSecret string

	key string
}

// Key tells rules apart: the same rules have the same key.
func (r Rules) Key() string { return r.key }

// allowed is a list of names, and who says so.
type allowed struct {
	names, by []string
}

func (a *allowed) add(by string, names []string) {
	if len(names) > 0 {
		a.names, a.by = append(a.names, names...), append(a.by, by)
	}
}

func (a allowed) join(b allowed) allowed {
	return allowed{slices.Concat(a.names, b.names), slices.Concat(a.by, b.by)}
}

// admits says whether a name is on the list, or there is none.
func (a allowed) admits(name string) bool {
	return len(a.by) == 0 || slices.Contains(a.names, name)
}

func (a allowed) String() string { return strings.Join(a.by, " and ") }

// pattern is a regular expression for the whole address of a repository.
type pattern struct {
	text, by string
	// whole is nil if the text is no regular expression. part matches as Fleet
	// does for GitRepoRestrictions: a part of the address is enough.
	whole, part *regexp.Regexp
}

func newPattern(text, by string) pattern {
	p := pattern{text: text, by: by}
	var err error
	if p.part, err = regexp.Compile(text); err != nil {
		p.part = nil
		return p
	}
	p.whole = regexp.MustCompile(`^(?:` + text + `)$`)
	return p
}

// Of returns what the restrictions and policies of one workspace add up to.
func Of(restrictions []*fleet.GitRepoRestriction, policies []*fleet.Policy) Rules {
	var r Rules
	byName := func(a, b metav1.Object) int { return strings.Compare(a.GetName(), b.GetName()) }
	restrictions, policies = slices.Clone(restrictions), slices.Clone(policies)
	slices.SortFunc(restrictions, func(a, b *fleet.GitRepoRestriction) int { return byName(a, b) })
	slices.SortFunc(policies, func(a, b *fleet.Policy) int { return byName(a, b) })
	for _, x := range restrictions {
		r.addRestriction(x)
		plain := *x
		plain.ObjectMeta = metav1.ObjectMeta{Name: x.Name}
		r.key += encoded(plain)
	}
	for _, p := range policies {
		r.addPolicy(p)
		plain := *p
		plain.ObjectMeta = metav1.ObjectMeta{Name: p.Name}
		r.key += encoded(plain)
	}
	return r
}

func encoded(rules any) string {
	data, err := json.Marshal(rules)
	if err != nil {
		// Not reached: these are plain fields. What does not encode is told apart
		// by nothing but itself.
		return err.Error()
	}
	return string(data)
}

func (r *Rules) addRestriction(x *fleet.GitRepoRestriction) {
	by := "GitRepoRestriction " + x.Name
	r.restricted.add(by, x.AllowedServiceAccounts)
	r.clientSecrets.add(by, x.AllowedClientSecretNames)
	r.namespaces.add(by, x.AllowedTargetNamespaces)
	r.addPatterns(by, x.AllowedRepoPatterns)
	r.setDefaults(x.DefaultServiceAccount, x.DefaultClientSecretName)
	if x.AllowedTargetNamespaceSelector != nil {
		r.selector = both(r.selector, x.AllowedTargetNamespaceSelector)
	}
}

func (r *Rules) addPolicy(p *fleet.Policy) {
	by := "Policy " + p.Name
	r.requireServiceAccount = r.requireServiceAccount || p.RequireServiceAccount
	r.allowNamespaceCreation = r.allowNamespaceCreation || p.AllowNamespaceCreation
	r.serviceAccounts.add(by, p.AllowedServiceAccounts)
	if g := p.GitRepo; g != nil {
		r.clientSecrets.add(by, g.AllowedClientSecretNames)
		r.addPatterns(by, g.AllowedRepoPatterns)
		r.setDefaults(g.DefaultServiceAccount, g.DefaultClientSecretName)
	}
}

func (r *Rules) addPatterns(by string, patterns []string) {
	for _, text := range patterns {
		r.patterns = append(r.patterns, newPattern(text, by))
	}
}

// setDefaults keeps the first default of each kind, by name of who gives it.
func (r *Rules) setDefaults(serviceAccount, clientSecret string) {
	if r.defaultServiceAccount == "" {
		r.defaultServiceAccount = serviceAccount
	}
	if r.defaultClientSecret == "" {
		r.defaultClientSecret = clientSecret
	}
}

// both matches what both selectors match.
func both(a, b *metav1.LabelSelector) *metav1.LabelSelector {
	if a == nil {
		return b
	}
	joined := &metav1.LabelSelector{}
	for _, s := range []*metav1.LabelSelector{a, b} {
		for key, value := range s.MatchLabels {
			// As expressions, two values for one key contradict each other.
			joined.MatchExpressions = append(joined.MatchExpressions,
				metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: []string{value}})
		}
		joined.MatchExpressions = append(joined.MatchExpressions, s.MatchExpressions...)
	}
	slices.SortStableFunc(joined.MatchExpressions, func(x, y metav1.LabelSelectorRequirement) int {
		return strings.Compare(fmt.Sprint(x), fmt.Sprint(y))
	})
	return joined
}
