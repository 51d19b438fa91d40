package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
	"github.com/flotilla-gitops/flotilla/pkg/status"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// GarbageCollection says what is to be removed, what holds it, and what it
// waits for.
type GarbageCollection struct {
	TypeMeta
	// Holds are the GitRepos and Bundles of which removals wait for a person,
	// or on which a person has put a hold.
	Holds []Hold `json:"holds"`
	// Removals are what is going or would go, by state, bundle and cluster.
	Removals []Removal `json:"removals"`
	// Notes are what else one should know.
	Notes []string `json:"notes,omitempty"`
}

// Hold is an object whose removals wait for a person.
type Hold struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Hand says that a person has put a hold on it.
	Hand bool `json:"byHand"`
	// Pruning says that removals are held, by hand or by the brake; Since is
	// since when, Reason and Message are what the manager says about it.
	Pruning bool   `json:"pruneHeld"`
	Since   string `json:"since,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Releasing says that a person has given what is held free, and the garbage
	// collector has yet to act on it.
	Releasing bool `json:"releasing,omitempty"`
}

// RemovalState is how far a removal is.
type RemovalState string

// States of removals.
const (
	// RemovalHeld waits for a person's word.
	RemovalHeld RemovalState = "Held"
	// RemovalOrphaned has no owner, and nothing proves that its owner was
	// deleted: it is kept until a person decides.
	RemovalOrphaned RemovalState = "Orphaned"
	// RemovalDue goes as soon as the garbage collector comes to it.
	RemovalDue RemovalState = "Due"
	// RemovalRemoving is marked deleted.
	RemovalRemoving RemovalState = "Removing"
)

// Removal is an object that is going or would go.
type Removal struct {
	State     RemovalState `json:"state"`
	Kind      string       `json:"kind"`
	Namespace string       `json:"namespace"`
	Name      string       `json:"name"`
	// GitRepo, Bundle and Cluster are "namespace/name" of what it belongs to.
	GitRepo string `json:"gitRepo,omitempty"`
	Bundle  string `json:"bundle,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	// Since is since when it is held or marked deleted.
	Since string `json:"since,omitempty"`
	// Reason is one CamelCase word; Message says it to a person.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// WaitingFor says what has to happen next.
	WaitingFor string `json:"waitingFor,omitempty"`
}

const (
	kindGitRepo    = "GitRepo"
	kindBundle     = "Bundle"
	kindDeployment = "BundleDeployment"
	kindCluster    = "Cluster"
)

const (
	awaitingPerson    = "a person: flotilla gc release"
	awaitingCollector = "the garbage collector"
)

// reasonMatchesAgain says that a deployment which is being removed is wanted
// again.
const reasonMatchesAgain = "MatchesAgain"

// GarbageCollectionOf lists what is going, or would go, of the world. The world
// needs all objects of the workspaces that are asked about, and the clusters,
// groups and namespaces that their mappings open.
func GarbageCollectionOf(w World) GarbageCollection {
	v := viewOf(w)
	g := GarbageCollection{TypeMeta: typeOf("GarbageCollection"), Holds: []Hold{}, Removals: []Removal{}}
	for _, repo := range sorted(w.GitRepos) {
		if h, ok := holdOf(kindGitRepo, repo, repo.Status.Conditions); ok {
			g.Holds = append(g.Holds, h)
		}
		g.add(marked(kindGitRepo, repo, "its bundles to be marked deleted"))
	}
	for _, b := range sorted(w.Bundles) {
		if h, ok := holdOf(kindBundle, b, b.Status.Conditions); ok {
			g.Holds = append(g.Holds, h)
		}
		g.add(v.bundleRemoval(b))
	}
	for _, c := range sorted(w.Clusters) {
		g.add(marked(kindCluster, c, "its deployments and its namespace to go"))
	}
	for _, bd := range w.Deployments {
		g.add(v.deploymentRemoval(bd))
	}
	if w.DeploymentsUnknown {
		g.Notes = append(g.Notes, "deployments could not be read: what is going on clusters is not listed")
	}
	slices.SortStableFunc(g.Removals, func(a, b Removal) int {
		return cmp.Or(rank(a.State)-rank(b.State), strings.Compare(a.Bundle, b.Bundle), strings.Compare(a.Cluster, b.Cluster))
	})
	return g
}

// add appends the removal if there is one.
func (g *GarbageCollection) add(r *Removal) {
	if r != nil {
		g.Removals = append(g.Removals, *r)
	}
}

func rank(s RemovalState) int {
	return slices.Index([]RemovalState{RemovalHeld, RemovalOrphaned, RemovalDue, RemovalRemoving}, s)
}

func holdOf(kind string, obj metav1.Object, conditions []fleet.Condition) (Hold, bool) {
	h := Hold{Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName(), Hand: byHand(obj)}
	if c := status.Get(conditions, fleet.ConditionPruneHeld); c != nil && c.Status == metav1.ConditionTrue {
		h.Pruning, h.Since, h.Reason, h.Message = true, c.LastTransitionTime, c.Reason, c.Message
	}
	_, h.Releasing = obj.GetAnnotations()[names.AnnotationReleaseHeld]
	return h, h.Hand || h.Pruning
}

func byHand(obj metav1.Object) bool { return obj.GetAnnotations()[names.AnnotationHold] == "true" }

// marked returns the removal of an object that is being deleted, nil if it is
// not.
func marked(kind string, obj metav1.Object, waitingFor string) *Removal {
	at := obj.GetDeletionTimestamp()
	if at == nil {
		return nil
	}
	return &Removal{
		State: RemovalRemoving, Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName(),
		Since: at.UTC().Format(time.RFC3339), Reason: "Deleted", Message: "it was deleted", WaitingFor: waitingFor,
	}
}

func (v *view) bundleRemoval(b *fleet.Bundle) *Removal {
	verdict := ownership.Bundle(ownership.BundleFacts{Bundle: b, GitRepo: v.repos[kube.RepoOf(b)]})
	r := marked(kindBundle, b, "its deployments to be marked deleted")
	if r == nil {
		r = &Removal{Kind: kindBundle, Namespace: b.Namespace, Name: b.Name}
		switch verdict.Action {
		case ownership.Delete:
			r.due(nil)
			if verdict.Reason == ownership.ReasonGoneFromGit {
				r.due(v.holder(b, v.repoHold(b)))
			}
		case ownership.Orphaned:
			r.State, r.WaitingFor = RemovalOrphaned, "a person: delete it, or bring its GitRepo back"
		case ownership.Keep, ownership.Release, ownership.Wait:
			return nil
		}
	}
	r.Bundle = kube.KeyOf(b).String()
	if repo := kube.RepoOf(b); repo.Name != "" {
		r.GitRepo = repo.String()
	}
	if verdict.Action != ownership.Keep {
		r.Reason = string(verdict.Reason)
		r.Message = bundleMessage(verdict.Reason, b)
	}
	return r
}

// repoHold returns what is held of the GitRepo of a bundle, nil if it has none.
func (v *view) repoHold(b *fleet.Bundle) *Hold {
	r := v.repos[kube.RepoOf(b)]
	if r == nil {
		return nil
	}
	hold, _ := holdOf(kindGitRepo, r, r.Status.Conditions)
	return &hold
}

func bundleMessage(reason ownership.Reason, b *fleet.Bundle) string {
	switch reason {
	case ownership.ReasonGoneFromGit:
		return fmt.Sprintf("its folder %q is not in commit %.12s", b.Annotations[names.AnnotationPath], b.Annotations[names.AnnotationGone])
	case ownership.ReasonGitRepoDeleted:
		return "its GitRepo is being deleted"
	case ownership.ReasonOwnerMissing:
		return "its GitRepo is not there, and nothing proves that it was deleted"
	default:
		return string(reason)
	}
}

// holder returns what holds a removal that is due for the bundle, nil if nothing
// does. pruning is what would say so if the brake held it: of a deployment its
// bundle, of a bundle its GitRepo.
func (v *view) holder(b *fleet.Bundle, pruning *Hold) *Hold {
	bundle, _ := holdOf(kindBundle, b, b.Status.Conditions)
	released := bundle.Releasing
	if bundle.Hand {
		return &bundle
	}
	if r := v.repos[kube.RepoOf(b)]; r != nil {
		repo, _ := holdOf(kindGitRepo, r, r.Status.Conditions)
		if released = released || repo.Releasing; repo.Hand {
			return &repo
		}
	}
	if pruning == nil || !pruning.Pruning || released {
		return nil
	}
	return pruning
}

// due fills in how a removal goes on that there is a reason for.
func (r *Removal) due(holder *Hold) {
	r.State, r.WaitingFor = RemovalDue, awaitingCollector
	if holder != nil {
		r.State, r.Since = RemovalHeld, holder.Since
		r.WaitingFor = fmt.Sprintf("%s %s/%s", awaitingPerson, strings.ToLower(holder.Kind), holder.Name)
	}
}

// agentRemoval is deploymentRemoval for one that delivers the agent of its
// cluster: it belongs to no bundle, and is a cluster's for as long as that is
// there.
func (v *view) agentRemoval(bd *fleet.BundleDeployment) *Removal {
	r := marked(kindDeployment, bd, "")
	if r == nil {
		return nil
	}
	cluster := v.clusters[kube.ClusterOf(bd)]
	r.Cluster, r.WaitingFor = kube.ClusterOf(bd).String(), awaited(bd, cluster, ownership.ReasonClusterDeleted)
	r.Message = "it was deleted; the agent stays"
	if cluster != nil && cluster.DeletionTimestamp != nil {
		r.Reason, r.Message = string(ownership.ReasonClusterDeleted), "its cluster is being unregistered; the agent stays"
	}
	return r
}

func (v *view) deploymentRemoval(bd *fleet.BundleDeployment) *Removal {
	if delivery.Is(bd) {
		return v.agentRemoval(bd)
	}
	bundle, cluster := v.bundles[kube.BundleOf(bd)], v.clusters[kube.ClusterOf(bd)]
	verdict := v.judge(bundle, cluster)
	r := marked(kindDeployment, bd, "")
	switch {
	case r != nil:
		r.WaitingFor = awaited(bd, cluster, verdict.Reason)
		if bundle == nil {
			// It has left; while it was there, it was seen leaving.
			verdict.Reason = ownership.ReasonBundleDeleted
		}
	case verdict.Reason == ownership.ReasonClusterDeleted:
		r = &Removal{Kind: kindDeployment, Namespace: bd.Namespace, Name: bd.Name, State: RemovalDue, WaitingFor: awaitingCollector}
	case verdict.Action == ownership.Delete:
		r = &Removal{Kind: kindDeployment, Namespace: bd.Namespace, Name: bd.Name}
		own, _ := holdOf(kindBundle, bundle, bundle.Status.Conditions)
		r.due(v.holder(bundle, &own))
		if verdict.Reason == ownership.ReasonBundleDeleted {
			r.due(nil)
		}
	case verdict.Action == ownership.Orphaned:
		r = &Removal{Kind: kindDeployment, Namespace: bd.Namespace, Name: bd.Name, State: RemovalOrphaned}
		r.WaitingFor = "a person: delete it, or bring its bundle or cluster back"
	default:
		return nil
	}
	r.Bundle, r.Cluster = kube.BundleOf(bd).String(), kube.ClusterOf(bd).String()
	if repo := bd.Labels[names.LabelRepoName]; repo != "" {
		r.GitRepo = kube.Key{Namespace: bd.Labels[names.LabelBundleNamespace], Name: repo}.String()
	}
	r.Reason, r.Message = string(verdict.Reason), v.deploymentMessage(verdict.Reason, bundle, cluster)
	if verdict.Reason == ownership.ReasonMatches {
		r.Reason = reasonMatchesAgain
	}
	return r
}

// judge says whether there is a reason for a deployment of the bundle on the
// cluster. Either may be nil.
func (v *view) judge(bundle *fleet.Bundle, cluster *fleet.Cluster) ownership.Verdict {
	return ownership.Deployment(ownership.DeploymentFacts{
		Bundle: bundle, Cluster: cluster, ClusterLeaves: cluster != nil && cluster.DeletionTimestamp != nil,
		Match: func(b *fleet.Bundle, c *fleet.Cluster) ownership.Match {
			if reach := v.reach(b); !reach.Contains(c.Namespace) {
				return matchOf(outside(reach))
			}
			return matchOf(answerOf(v.matcher(b, c.Namespace).Match(c).Outcome))
		},
	})
}

func matchOf(a targeting.Answer) ownership.Match {
	switch a {
	case targeting.AnswerYes:
		return ownership.MatchYes
	case targeting.AnswerNo:
		return ownership.MatchNo
	case targeting.AnswerUnknown:
	}
	return ownership.MatchUnknown
}

// deploymentMessage says it to a person. Only what was judged by its targets
// needs the bundle and the cluster.
func (v *view) deploymentMessage(reason ownership.Reason, b *fleet.Bundle, c *fleet.Cluster) string {
	switch reason {
	case ownership.ReasonMatches:
		return "its targets match the cluster again: " + v.clusterTarget(b, c).Message
	case ownership.ReasonBundleDeleted:
		return "its bundle was deleted"
	case ownership.ReasonClusterDeleted:
		return "its cluster is being unregistered; the workload stays"
	case ownership.ReasonOwnerMissing:
		return "its bundle or its cluster is not there, and nothing proves that it was deleted"
	default:
		return v.clusterTarget(b, c).Message
	}
}

// awaited says what has to happen until a deployment that is marked deleted is
// gone.
func awaited(bd *fleet.BundleDeployment, cluster *fleet.Cluster, reason ownership.Reason) string {
	others := slices.DeleteFunc(slices.Clone(bd.Finalizers), func(f string) bool { return f == names.FinalizerDeployment })
	switch {
	case len(others) < len(bd.Finalizers):
	case len(others) > 0:
		return "whoever put its finalizers there: " + strings.Join(others, ", ")
	default:
		return "the API server"
	}
	removed := status.Get(bd.Status.Conditions, fleet.ConditionRemoved)
	away, isAway := offline(cluster)
	agent := "the agent of cluster " + kube.ClusterOf(bd).String()
	switch {
	case removed != nil && removed.Status == metav1.ConditionTrue,
		cluster == nil || cluster.DeletionTimestamp != nil:
		return awaitingCollector
	case removed == nil && reason == ownership.ReasonMatches:
		return awaitingCollector + ", which takes it back: its agent has not begun"
	case isAway:
		return agent + ", which is away: " + away
	case removed == nil:
		return agent + " to begin"
	}
	return agent + ": " + cmp.Or(removed.Message, removed.Reason)
}

// Yes says that nothing waits for a person.
func (g GarbageCollection) Yes() bool {
	return !slices.ContainsFunc(g.Holds, func(h Hold) bool { return h.Pruning }) &&
		!slices.ContainsFunc(g.Removals, func(r Removal) bool { return r.State == RemovalHeld || r.State == RemovalOrphaned })
}

// About leaves out what concerns none of the objects, which are named
// "kind/namespace/name" with the kind in lower case. Without any, all stays.
func (g GarbageCollection) About(objects []string) GarbageCollection {
	if len(objects) == 0 {
		return g
	}
	concerns := func(kind, key string) bool {
		return key != "" && slices.Contains(objects, strings.ToLower(kind)+"/"+key)
	}
	g.Holds = slices.DeleteFunc(slices.Clone(g.Holds), func(h Hold) bool { return !concerns(h.Kind, h.Namespace+"/"+h.Name) })
	g.Removals = slices.DeleteFunc(slices.Clone(g.Removals), func(r Removal) bool {
		return !concerns(kindGitRepo, r.GitRepo) && !concerns(kindBundle, r.Bundle) && !concerns(kindCluster, r.Cluster) &&
			!concerns(r.Kind, r.Namespace+"/"+r.Name)
	})
	return g
}
