package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// hub is a fake of everything around the planner: the API server with one
// bundle and its clusters, the manager's cache of it, the agents and the
// garbage collector. Nothing happens in it by itself.
type hub struct {
	bundle  *fleet.Bundle
	version int
	force   int64
	// sources is the version of what clusters have copied; those with options of their own have one more copy.
	sources int
	nodes   map[string]*node
	uids    int
}

// node is a cluster, its agent and its deployment.
type node struct {
	cluster *fleet.Cluster
	// ring is the name of the partition that the cluster matches.
	ring string
	// targeted says that the bundle matches the cluster, custom that it has
	// options of its own there, invalid that these cannot be computed.
	targeted, custom, invalid bool
	offline                   bool
	mood                      mood
	// steps counts what the agent did about what it is asked for now.
	steps int
	doing string
	// deployment is the one on the API server, seen that in the manager's cache.
	// What the manager writes it sees at once, what others write when delivered.
	deployment, seen *fleet.BundleDeployment
}

// mood is how an agent behaves.
type mood int

const (
	good   mood = iota // acknowledges, then applies
	slow               // applies long before it is ready
	broken             // fails to apply
	silent             // never reports
	lying              // reports what is not so
	moody              // applies, and is not always ready
	moods
)

func newHub() *hub {
	return &hub{
		bundle:  &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "fleet-default"}},
		nodes:   map[string]*node{},
		version: 1,
	}
}

// add adds a cluster with an agent.
func (h *hub) add(name, ring string) *node {
	n := &node{ring: ring, targeted: true, cluster: &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "fleet-default"}}}
	n.cluster.Status.Namespace = names.ClusterNamespace("fleet-default", name)
	n.announce()
	h.nodes[name] = n
	return n
}

func (n *node) announce() { n.cluster.Status.Agent.LastSeen = metav1.Unix(1, 0) }

func (n *node) announced() bool { return AgentAnnounced(n.cluster) }

// sorted returns the clusters by name.
func (h *hub) sorted() []*node {
	return slices.SortedFunc(maps.Values(h.nodes), func(a, b *node) int { return cmp.Compare(a.cluster.Name, b.cluster.Name) })
}

// wanted is the deployment ID that the cluster should run.
func (h *hub) wanted(n *node) string {
	id := fmt.Sprintf("v%d", h.version)
	if h.force > 0 {
		id += "+" + strconv.FormatInt(h.force, 10)
	}
	if n.custom {
		id += "-custom"
	}
	return id
}

// world is what the manager observes.
func (h *hub) world() World {
	w := World{Bundle: h.bundle}
	for _, n := range h.sorted() {
		if n.targeted {
			w.Targets = append(w.Targets, h.target(n))
		}
	}
	return w
}

func (h *hub) target(n *node) Target {
	t := Target{Cluster: n.cluster, Existing: n.seen, Offline: n.offline, Partition: -1}
	if s := h.bundle.Spec.RolloutStrategy; s != nil {
		t.Partition = slices.IndexFunc(s.Partitions, func(p fleet.Partition) bool { return p.Name == n.ring })
	}
	if n.invalid {
		t.Problem = "no such label"
		return t
	}
	t.DeploymentID = h.wanted(n)
	t.ValuesHash = "values of " + t.DeploymentID
	t.Options = fleet.BundleDeploymentOptions{
		DefaultNamespace: "web", ForceSyncGeneration: h.force, Helm: &fleet.HelmOptions{Chart: t.DeploymentID},
		CorrectDrift: h.bundle.Spec.CorrectDrift,
	}
	if h.sources > 0 {
		t.Copies = fmt.Sprintf("sources %d %t", h.sources, n.custom)
		t.Options.DownstreamResources = []fleet.DownstreamResource{{Kind: "Secret", Name: "pull"}}
	}
	return t
}

// write does what the API server does with the step: it refuses what was
// decided on an older state than its own.
func (h *hub) write(s Step) bool {
	n := h.nodes[s.Target.Cluster.Name]
	switch {
	case s.Target.Existing == nil && n.deployment == nil:
		h.uids++
		s.Deployment.UID = types.UID(strconv.Itoa(h.uids))
	case s.Target.Existing == nil, n.deployment == nil, n.deployment.ResourceVersion != s.Target.Existing.ResourceVersion:
		n.deliver()
		return false
	}
	n.store(s.Deployment)
	n.deliver()
	return true
}

func (n *node) store(bd *fleet.BundleDeployment) {
	version := 0
	if n.deployment != nil {
		version, _ = strconv.Atoi(n.deployment.ResourceVersion)
	}
	n.deployment = bd.DeepCopy()
	n.deployment.ResourceVersion = strconv.Itoa(version + 1)
}

// deliver brings the manager's cache up to date.
func (n *node) deliver() { n.seen = n.deployment }

// change changes the deployment on the API server.
func (n *node) change(f func(*fleet.BundleDeployment)) {
	bd := n.deployment.DeepCopy()
	f(bd)
	n.store(bd)
}

// collect is the garbage collector: it deletes deployments of clusters that are
// not targeted, and waits for an agent that has to confirm.
func (h *hub) collect(n *node) {
	switch {
	case n.deployment == nil, n.targeted && n.deployment.DeletionTimestamp == nil:
		return
	case slices.Contains(n.deployment.Finalizers, names.FinalizerDeployment):
		if n.deployment.DeletionTimestamp == nil {
			n.change(func(bd *fleet.BundleDeployment) { bd.DeletionTimestamp = &metav1.Time{} })
		}
	default:
		n.deployment = nil
	}
	n.deliver()
}

// act lets the cluster's agent do one step, and says whether it did anything.
func (n *node) act() bool {
	bd := n.deployment
	if !n.announced() || n.offline || bd == nil || n.mood == silent {
		return false
	}
	if bd.DeletionTimestamp != nil {
		n.deployment = nil
		return true
	}
	if doing := fmt.Sprint(bd.UID, bd.Spec.DeploymentID, bd.Spec.DownstreamResourcesGeneration, bd.Spec.Paused, len(bd.Finalizers)); n.doing != doing {
		n.doing, n.steps = doing, 0
	}
	n.steps++
	status := n.report()
	if same(status, &bd.Status) {
		return false
	}
	n.change(func(bd *fleet.BundleDeployment) { bd.Status = *status })
	return true
}

// report is what the agent says at its present step.
func (n *node) report() *fleet.BundleDeploymentStatus {
	spec, status := &n.deployment.Spec, n.deployment.Status.DeepCopy()
	deployed := func(s metav1.ConditionStatus) {
		status.Conditions = []fleet.Condition{{Type: fleet.ConditionDeployed, Status: s}}
	}
	if spec.Paused || spec.DeploymentID == "" || len(n.deployment.Finalizers) == 0 || (n.steps == 1 && n.mood != lying) {
		if status.AppliedDeploymentID != spec.DeploymentID || status.DownstreamResourcesGeneration != spec.DownstreamResourcesGeneration || len(status.Conditions) == 0 {
			deployed(metav1.ConditionUnknown)
		}
		return status
	}
	applied := func(ready bool) {
		deployed(metav1.ConditionTrue)
		status.AppliedDeploymentID, status.Ready = spec.DeploymentID, ready
		status.DownstreamResourcesGeneration = spec.DownstreamResourcesGeneration
	}
	switch n.mood {
	case good:
		applied(true)
	case slow:
		applied(n.steps > 4)
	case broken:
		deployed(metav1.ConditionFalse)
	case lying:
		applied(true)
		if n.steps%2 == 0 {
			status.AppliedDeploymentID = "what nobody asked for"
		}
	case moody:
		applied(n.steps%3 != 0)
	default:
		panic("an agent without a mood")
	}
	return status
}

// calm lets everything that is under way come to its end: the cache catches
// up, deployments that are not wanted go, agents of the mood good finish.
func (h *hub) calm() (changed bool) {
	for _, n := range h.sorted() {
		h.collect(n)
		for range 10 {
			changed = n.act() || changed
		}
		h.collect(n)
		n.deliver()
	}
	return changed
}
