package oracle

import (
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Verdict is what the targets of a bundle say of a cluster.
type Verdict struct {
	// Decided is false if it depends on something that cannot be evaluated.
	Decided bool
	// Deployed says that the cluster gets the bundle.
	Deployed bool
	// Options are those of the targets that count, as JSON, in order.
	Options []string
}

// trial answers, one after the other, what cannot be evaluated.
type trial struct {
	answers, asked uint
}

func (t *trial) truth(a answer) bool {
	if a != unknown {
		return a == yes
	}
	guess := t.answers>>t.asked&1 == 1
	t.asked++
	return guess
}

// Match evaluates the targets of a bundle for a cluster.
func (w *World) Match(b *fleet.Bundle, c *fleet.Cluster) Verdict {
	switch w.reaches(b, c.Namespace) {
	case unknown:
		return Verdict{}
	case no:
		return Verdict{Decided: true}
	case yes:
	}
	first := &trial{}
	result := w.try(first, b, c)
	result.Decided = true
	for guess := uint(1); guess < 1<<first.asked; guess++ {
		other := w.try(&trial{answers: guess}, b, c)
		if other.Deployed != result.Deployed || strings.Join(other.Options, " ") != strings.Join(result.Options, " ") {
			return Verdict{}
		}
	}
	return result
}

// reaches says whether a bundle may be deployed to clusters of a namespace. A mapping that cannot be read could allow anything.
func (w *World) reaches(b *fleet.Bundle, namespace string) answer {
	if b.Namespace == namespace {
		return yes
	}
	result := no
	for _, m := range w.Mappings {
		if m.Namespace != b.Namespace {
			continue
		}
		bundles, namespaces := selects(m.BundleSelector, b.Labels), selects(m.NamespaceSelector, w.Namespaces[namespace])
		switch {
		case bundles == yes && namespaces == yes:
			return yes
		case bundles == unknown || namespaces == unknown:
			result = unknown
		}
	}
	return result
}

// try evaluates everything, also what cannot turn the result any more: so each trial asks the same.
func (w *World) try(t *trial, b *fleet.Bundle, c *fleet.Cluster) Verdict {
	var matching []*fleet.BundleTarget
	for i := range b.Spec.Targets {
		g := &b.Spec.Targets[i]
		if w.meets(t, criteria{g.ClusterName, g.ClusterGroup, g.ClusterSelector, g.ClusterGroupSelector}, c) {
			matching = append(matching, g)
		}
	}
	permitted := len(b.Spec.TargetRestrictions) == 0
	for _, r := range b.Spec.TargetRestrictions {
		if w.meets(t, criteria{r.ClusterName, r.ClusterGroup, r.ClusterSelector, r.ClusterGroupSelector}, c) {
			permitted = true
		}
	}
	if !permitted || len(matching) == 0 {
		return Verdict{}
	}
	if b.Spec.TargetCustomizationMode != fleet.AllMatches {
		matching = matching[:1]
	}
	result := Verdict{Deployed: true}
	for _, target := range matching {
		if target.DoNotDeploy {
			return Verdict{}
		}
		if options, _ := json.Marshal(target.BundleDeploymentOptions); string(options) != "{}" {
			result.Options = append(result.Options, string(options))
		}
	}
	return result
}

type criteria struct {
	name, group             string
	selector, groupSelector *metav1.LabelSelector
}

// meets says whether a cluster meets all criteria.
func (w *World) meets(t *trial, by criteria, c *fleet.Cluster) bool {
	if by.name == "" && by.group == "" && by.selector == nil && by.groupSelector == nil {
		return false
	}
	result := true
	if by.name != "" {
		result = by.name == c.Name || by.name == c.Labels[names.LabelClusterDisplayName]
	}
	if by.selector != nil {
		result = t.truth(selects(by.selector, c.Labels)) && result
	}
	if by.group != "" || by.groupSelector != nil {
		result = w.inGroup(t, by, c) && result
	}
	return result
}

// inGroup says whether the cluster is in a group that is meant. What is in a group that is missing cannot be known.
func (w *World) inGroup(t *trial, by criteria, c *fleet.Cluster) bool {
	result, found := false, by.group == ""
	for _, g := range w.groupsOf(c.Namespace) {
		if by.group != "" && g.Name != by.group {
			continue
		}
		found = true
		meant := yes
		if by.groupSelector != nil {
			meant = selects(by.groupSelector, g.Labels)
		}
		if meant == no {
			continue
		}
		isMeant, isMember := t.truth(meant), t.truth(selects(g.Spec.Selector, c.Labels))
		result = result || isMeant && isMember
	}
	if !found && t.truth(unknown) {
		result = true
	}
	return result
}
