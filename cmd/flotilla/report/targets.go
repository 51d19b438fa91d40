package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// Targets says which clusters bundles are deployed to, and why.
type Targets struct {
	TypeMeta
	// Bundles are those asked for, by namespace and name.
	Bundles []BundleTargets `json:"bundles"`
	// Notes are what else one should know.
	Notes []string `json:"notes,omitempty"`
}

// BundleTargets says which clusters one bundle is deployed to.
type BundleTargets struct {
	Namespace string `json:"namespace"`
	// Name of the bundle; empty where a GitRepo has none yet: then its own
	// targets are explained.
	Name    string `json:"name,omitempty"`
	GitRepo string `json:"gitRepo,omitempty"`
	// Mode is FirstMatch or AllMatches.
	Mode string `json:"targetCustomizationMode"`
	// Reach lists the namespaces whose clusters can be targets.
	Reach []string `json:"reach"`
	// Problems are what is wrong with the targets themselves.
	Problems []Problem `json:"problems,omitempty"`
	// Paused says what is paused: "GitRepo" or "Bundle".
	Paused string `json:"paused,omitempty"`
	// Clusters are those asked for, by namespace and name.
	Clusters []ClusterTarget `json:"clusters"`
}

// Problem is something wrong with targets or a mapping.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// ClusterTarget is the answer for one cluster.
type ClusterTarget struct {
	// Cluster is "namespace/name".
	Cluster string `json:"cluster"`
	// Answer is yes, no or unknown.
	Answer targeting.Answer `json:"answer"`
	// Reason is one CamelCase word: TargetMatches, NoTargetMatches, DoNotDeploy,
	// Restricted, Undecided or OutOfReach.
	Reason string `json:"reason"`
	// Message says in one line what the answer rests on.
	Message string `json:"message"`
	// Target is the name of the target that decided.
	Target string `json:"target,omitempty"`
	// Deployment is present, removing, missing or, where it could not be read,
	// unknown.
	Deployment string `json:"deployment"`
	// State and StateMessage are what the bundle's status says about the
	// deployment, if it names it: that it waits for its turn, or what is wrong.
	State        string `json:"state,omitempty"`
	StateMessage string `json:"stateMessage,omitempty"`
	// Paused says that the cluster is paused.
	Paused bool `json:"paused,omitempty"`
	// Targets and Restrictions are every target and restriction and what each
	// of them says of the cluster; none for a cluster out of reach.
	Targets      []targeting.Clause `json:"targets,omitempty"`
	Restrictions []targeting.Clause `json:"restrictions,omitempty"`
	// Permitted is what the restrictions say together; empty where there are
	// none.
	Permitted targeting.Answer `json:"permitted,omitempty"`
}

// What is known of a deployment.
const (
	deploymentPresent  = "present"
	deploymentRemoving = "removing"
	deploymentMissing  = "missing"
	deploymentUnknown  = "unknown"
)

// reasonOutOfReach says that no mapping opens the cluster's namespace.
const reasonOutOfReach = "OutOfReach"

// TargetsOf explains the targets of all bundles of the world for all of its
// clusters. The world needs the bundles with their GitRepos, the clusters,
// groups and mappings that can matter and, if they are to be shown, the
// deployments. only is a cluster to explain alone; without one, clusters out of
// reach are left out.
func TargetsOf(w World, only *kube.Key) Targets {
	v := viewOf(w)
	t := Targets{TypeMeta: typeOf("Targets"), Bundles: []BundleTargets{}}
	have := map[kube.Key]bool{}
	for _, b := range sorted(w.Bundles) {
		have[kube.RepoOf(b)] = true
		t.Bundles = append(t.Bundles, v.targetsOf(b, only))
	}
	for _, repo := range sorted(w.GitRepos) {
		if c := trouble(repo); c != nil {
			t.Notes = append(t.Notes, fmt.Sprintf("GitRepo %s: %s", repo.Name, c.Message))
		}
		switch {
		case !have[kube.KeyOf(repo)]:
			t.Notes = append(t.Notes, fmt.Sprintf(
				"GitRepo %s has no bundles yet: these are its own targets; flotilla status gitrepo/%s says what it waits for", repo.Name, repo.Name))
			t.Bundles = append(t.Bundles, v.targetsOf(standIn(repo), only))
		case repo.Status.ObservedGeneration < repo.Generation:
			t.Notes = append(t.Notes, fmt.Sprintf(
				"GitRepo %s has changed and the manager has not acted on it yet: its bundles may be about to change", repo.Name))
		}
	}
	return t
}

// standIn is what a bundle of the GitRepo would have for targets if its folder
// said nothing about them.
func standIn(repo *fleet.GitRepo) *fleet.Bundle {
	b := &fleet.Bundle{}
	b.Namespace, b.Labels = repo.Namespace, map[string]string{names.LabelRepoName: repo.Name}
	targets := repo.Spec.Targets
	if len(targets) == 0 {
		targets = []fleet.GitTarget{{Name: names.ClusterGroupDefault, ClusterGroup: names.ClusterGroupDefault}}
	}
	for _, t := range targets {
		b.Spec.Targets = append(b.Spec.Targets, fleet.BundleTarget{
			Name: t.Name, ClusterName: t.ClusterName, ClusterGroup: t.ClusterGroup,
			ClusterSelector: t.ClusterSelector, ClusterGroupSelector: t.ClusterGroupSelector,
		})
	}
	return b
}

func (v *view) targetsOf(b *fleet.Bundle, only *kube.Key) BundleTargets {
	reach := v.reach(b)
	found := BundleTargets{
		Namespace: b.Namespace, Name: b.Name, GitRepo: b.Labels[names.LabelRepoName], Reach: reach.Namespaces,
		Mode: string(cmp.Or(b.Spec.TargetCustomizationMode, fleet.FirstMatch)), Clusters: []ClusterTarget{},
	}
	for _, p := range reach.Problems {
		found.Problems = append(found.Problems, Problem{p.Field, p.Message})
	}
	for _, namespace := range reach.Namespaces {
		for _, p := range v.matcher(b, namespace).Problems() {
			if !slices.Contains(found.Problems, Problem{p.Field, p.Message}) {
				found.Problems = append(found.Problems, Problem{p.Field, p.Message})
			}
		}
	}
	if repo := v.repos[kube.RepoOf(b)]; repo != nil && repo.Spec.Paused {
		found.Paused = "GitRepo"
	} else if b.Spec.Paused {
		found.Paused = "Bundle"
	}
	for _, c := range sorted(v.Clusters) {
		if only == nil && reach.Contains(c.Namespace) || only != nil && *only == kube.KeyOf(c) {
			found.Clusters = append(found.Clusters, v.clusterTarget(b, c))
		}
	}
	return found
}

func (v *view) clusterTarget(b *fleet.Bundle, c *fleet.Cluster) ClusterTarget {
	found := ClusterTarget{Cluster: kube.KeyOf(c).String(), Deployment: v.deployment(b, c), Paused: c.Spec.Paused}
	for _, r := range b.Status.Summary.NonReadyResources {
		if r.Name == found.Cluster {
			found.State, found.StateMessage = string(r.State), r.Message
		}
	}
	if reach := v.reach(b); !reach.Contains(c.Namespace) {
		found.Answer, found.Reason = outside(reach), reasonOutOfReach
		found.Message = fmt.Sprintf("bundles of namespace %s are deployed to clusters of %s: a BundleNamespaceMapping there opens others",
			b.Namespace, strings.Join(reach.Namespaces, ", "))
		if len(reach.Problems) > 0 {
			// The mapping that cannot be read may be the one that opens it.
			found.Message = fmt.Sprintf("%s: %s", reach.Problems[0].Field, reach.Problems[0].Message)
		}
		return found
	}
	e := v.matcher(b, c.Namespace).Explain(c)
	found.Answer, found.Reason = answerOf(e.Decision.Outcome), e.Decision.Reason
	found.Message, found.Target = e.Why(), e.Decision.TargetName
	found.Targets, found.Restrictions = e.Targets, e.Restrictions
	if len(e.Restrictions) > 0 {
		found.Permitted = e.Permitted
	}
	return found
}

// outside is the answer for a cluster that is not within reach.
func outside(reach targeting.Reach) targeting.Answer {
	if len(reach.Problems) > 0 {
		return targeting.AnswerUnknown
	}
	return targeting.AnswerNo
}

func answerOf(o targeting.Outcome) targeting.Answer {
	switch o {
	case targeting.Matched:
		return targeting.AnswerYes
	case targeting.Unmatched, targeting.Excluded:
		return targeting.AnswerNo
	case targeting.Unknown:
	}
	return targeting.AnswerUnknown
}

func (v *view) deployment(b *fleet.Bundle, c *fleet.Cluster) string {
	bd := v.deployments[pairKey{kube.KeyOf(b), kube.KeyOf(c)}]
	switch {
	case v.DeploymentsUnknown:
		return deploymentUnknown
	case bd == nil:
		return deploymentMissing
	case bd.DeletionTimestamp != nil:
		return deploymentRemoving
	}
	return deploymentPresent
}

// Yes says whether the question that was asked is answered with yes: of one
// cluster, that every bundle is deployed to it; of all, that nothing is in
// doubt.
func (t Targets) Yes(aboutOne bool) bool {
	for _, b := range t.Bundles {
		if len(b.Problems) > 0 && !aboutOne {
			return false
		}
		for _, c := range b.Clusters {
			if c.Answer == targeting.AnswerUnknown || aboutOne && c.Answer == targeting.AnswerNo {
				return false
			}
		}
	}
	return true
}

// Only leaves out the clusters with another answer.
func (t Targets) Only(answer targeting.Answer) Targets {
	t.Bundles = slices.Clone(t.Bundles)
	for i := range t.Bundles {
		t.Bundles[i].Clusters = slices.DeleteFunc(slices.Clone(t.Bundles[i].Clusters), func(c ClusterTarget) bool { return c.Answer != answer })
	}
	return t
}
