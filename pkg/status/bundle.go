package status

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Target is a cluster that a bundle should be deployed to.
type Target struct {
	// Cluster is "namespace/name".
	Cluster string
	// Fingerprint is what its deployment should run next (names.Fingerprint); empty if
	// that is not known. Until the deployment says so, it is not up to date.
	Fingerprint string
	// Partition is the index of its partition in the roll-out; negative if it
	// is in none.
	Partition int
	// Held says why its deployment was not written; empty if it was. Reason is
	// the same in one CamelCase word.
	Held, Reason string
	// Invalid says that the reason needs a user: the bundle's options do not
	// hold on this cluster.
	Invalid bool
	// Waits says that the roll-out has not come to the cluster yet: what runs
	// there is older, and meant to be.
	Waits bool
}

// Rollout is what the latest plan for a bundle says of its roll-out.
type Rollout struct {
	// Partitions lists them without their summaries.
	Partitions                                      []fleet.PartitionStatus
	Unavailable, MaxUnavailable                     int
	UnavailablePartitions, MaxUnavailablePartitions int
	// NewlyCreated is how many deployments the plan created.
	NewlyCreated int
}

// BundleFacts are what the status of a Bundle follows from.
type BundleFacts struct {
	Bundle *fleet.Bundle
	// Deployments are all of the bundle's, also those being removed.
	Deployments []*fleet.BundleDeployment
	Offline     Offline
	// Targets are the clusters that the targets match, as of Generation. Known
	// is false until they were computed once.
	Known      bool
	Generation int64
	Targets    []Target
	// Rollout is nil if all clusters are one partition without a limit.
	Rollout *Rollout
	// Problems are what is wrong with the bundle or its targets; Err is what
	// failed when its deployments were last written.
	Problems []string
	Err      string
	// ResourcesSHA256 is the digest of spec.resources.
	ResourcesSHA256 string
	Now             metav1.Time
}

// ForBundle returns the status of the bundle.
func ForBundle(f BundleFacts) fleet.BundleStatus { return f.status(f.recount) }

// bundleParts is what the deployments and targets of a bundle add up to.
type bundleParts struct {
	sum                  *summary
	targets, unavailable int
	// partitions counts, by partition, its targets by state.
	partitions []stateCounts
	removing   removing
}

func (f BundleFacts) status(count func() bundleParts) fleet.BundleStatus {
	status := *f.Bundle.Status.DeepCopy()
	if !f.Known {
		return status
	}
	parts := count()
	sum := parts.sum
	sum.list()
	status.ObservedGeneration = f.Generation
	status.ResourcesSHA256Sum = f.ResourcesSHA256
	status.Summary = sum.BundleSummary
	status.Display = fleet.BundleDisplay{ReadyClusters: sum.ready(), State: sum.state()}
	f.setRollout(&status, parts)
	w := writer{&status.Conditions, f.Generation, f.Now}
	w.progress(f.progress(sum))
	setRemoving(w, parts.removing)
	return status
}

// recount adds up all deployments and targets.
func (f BundleFacts) recount() bundleParts {
	parts := bundleParts{sum: &summary{}, targets: len(f.Targets)}
	var leaving []string
	staying := map[string]*fleet.BundleDeployment{}
	for _, bd := range f.Deployments {
		cluster := clusterOf(bd)
		if bd.DeletionTimestamp != nil {
			leaving = append(leaving, cluster)
			continue
		}
		staying[cluster] = bd
	}
	parts.removing = removingOf(leaving)
	for _, t := range f.Targets {
		p := placed{target: t, targeted: true, bd: staying[t.Cluster], since: f.Offline[t.Cluster]}
		delete(staying, t.Cluster)
		if p.unavailable() {
			parts.unavailable++
		}
		parts.sum.add(p.item(t.Cluster))
		parts.inPartition(t.Partition, p.state(), 1)
	}
	// What no target asks for and nobody removes is there all the same: it is
	// kept while the targets are in doubt.
	for cluster, bd := range staying {
		parts.sum.add(placed{bd: bd, since: f.Offline[cluster]}.item(cluster))
	}
	return parts
}

// maxPartitions bounds what a plan that is wrong could ask for.
const maxPartitions = 100_000

func (p *bundleParts) inPartition(at int, state fleet.BundleState, n int32) {
	if at < 0 || at >= maxPartitions {
		return
	}
	for len(p.partitions) <= at {
		p.partitions = append(p.partitions, stateCounts{})
	}
	p.partitions[at][Rank(state)] += n
}

// placed is one cluster of a bundle: what should be there, and what is.
type placed struct {
	target   Target
	targeted bool
	// bd is the deployment that is there to stay, or nil.
	bd *fleet.BundleDeployment
	// since is since when the cluster is offline, or empty.
	since string
}

func (p placed) state() fleet.BundleState {
	switch {
	case p.targeted && p.target.Invalid:
		return fleet.ErrApplied
	case p.bd == nil:
		return fleet.Pending
	case p.since != "":
		return fleet.Unknown
	case p.waits():
		return Worst(DeploymentState(p.bd), fleet.OutOfSync)
	case p.behind():
		return Worst(DeploymentState(p.bd), fleet.WaitApplied)
	}
	return DeploymentState(p.bd)
}

// behind says that something newer is on its way to the deployment, whatever
// it says of what it runs now.
func (p placed) behind() bool {
	return p.target.Fingerprint != "" && fingerprint(p.bd, p.bd.Spec.StagedDeploymentID) != p.target.Fingerprint
}

// waits says that the deployment runs something older because the roll-out has
// not come to it yet.
func (p placed) waits() bool {
	return p.target.Waits && p.target.Fingerprint != "" && fingerprint(p.bd, p.bd.Spec.DeploymentID) != p.target.Fingerprint
}

func fingerprint(bd *fleet.BundleDeployment, deploymentID string) string {
	return names.Fingerprint(deploymentID, bd.Annotations[names.AnnotationDownstreamResources])
}

// unavailable says whether the deployment of a target does not work, as far as
// is known.
func (p placed) unavailable() bool {
	return p.targeted && p.bd != nil && p.since == "" &&
		(!p.bd.Status.Ready || !p.bd.Applied())
}

func (p placed) item(cluster string) item {
	i := item{name: cluster, state: p.state()}
	switch {
	case p.bd == nil || p.target.Invalid:
		i.message = clean(p.target.Held, maxItem)
	case p.since != "":
		i.message = offlineMessage(p.since)
		return i
	case i.state == fleet.OutOfSync && p.waits():
		i.message = clean(p.target.Held, maxItem)
	default:
		i.message = DeploymentMessage(p.bd)
	}
	i.bd = p.bd
	return i
}

// setRollout writes how far the roll-out is.
func (f BundleFacts) setRollout(status *fleet.BundleStatus, parts bundleParts) {
	status.PartitionStatus = nil
	if r := f.Rollout; r != nil {
		status.Unavailable, status.MaxUnavailable = r.Unavailable, r.MaxUnavailable
		status.UnavailablePartitions, status.MaxUnavailablePartitions = r.UnavailablePartitions, r.MaxUnavailablePartitions
		status.NewlyCreated = r.NewlyCreated
		for i, p := range r.Partitions {
			if i < len(parts.partitions) {
				p.Summary = parts.partitions[i].summary()
			}
			status.PartitionStatus = append(status.PartitionStatus, p)
		}
		return
	}
	status.Unavailable, status.MaxUnavailable = parts.unavailable, parts.targets
	status.UnavailablePartitions, status.MaxUnavailablePartitions, status.NewlyCreated = 0, 0, 0
	if parts.targets > 0 {
		counts := parts.sum.BundleSummary
		counts.NonReadyResources = nil
		status.PartitionStatus = []fleet.PartitionStatus{{
			Name: partitionAll, Count: parts.targets, MaxUnavailable: parts.targets, Unavailable: parts.unavailable, Summary: counts,
		}}
	}
}

// partitionAll is the name of the partition of a bundle that has no others.
const partitionAll = "All"

func (f BundleFacts) progress(sum *summary) progress {
	switch {
	case f.Bundle.DeletionTimestamp != nil:
		return progress{goingOn: true, reason: "Deleting", message: "the bundle is being deleted"}
	case len(f.Problems) > 0:
		return progress{stalled: true, reason: reasonInvalid, message: strings.Join(first(f.Problems, maxNonReady), "; ")}
	case f.Err != "":
		return progress{goingOn: true, reason: "WriteFailed", message: f.Err}
	}
	return sum.progress("Cluster")
}

// removing is what a status says of clusters with something that is being
// removed.
type removing struct {
	count int
	// first are the first few, by name.
	first []string
}

func removingOf(clusters []string) removing {
	slices.Sort(clusters)
	return removing{count: len(clusters), first: first(clusters, maxNames)}
}

// setRemoving shows the deployments whose agents have not confirmed yet.
func setRemoving(w writer, r removing) {
	message := fmt.Sprintf("%d to confirm: %s", r.count, strings.Join(r.first, ", "))
	if r.count > len(r.first) {
		message += ", …"
	}
	w.abnormal(fleet.ConditionRemoving, r.count > 0, fleet.ReasonWaitingForAgents, message)
}
