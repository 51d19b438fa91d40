package status

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Problem is something that a user has to put right.
type Problem struct {
	// Reason is one CamelCase word, Message what is wrong, where, and what to
	// do.
	Reason, Message string
}

// GitRepoFacts are what the status of a GitRepo follows from.
type GitRepoFacts struct {
	GitRepo     *fleet.GitRepo
	Bundles     []*fleet.Bundle
	Deployments []*fleet.BundleDeployment
	// Generation is the newest that was acted on. Known is false until the
	// repository was asked once: until then the status keeps what it says.
	Generation int64
	Known      bool
	// Commit is the newest whose bundles are written; Updating says that a
	// newer one is on its way.
	Commit    string
	Updating  bool
	ForceSync int64
	// Refused says why the GitRepo is not acted on at all.
	Refused *Problem
	// Fetch is what failed when the repository was asked; FetchStalled says
	// that a user has to act.
	Fetch        *Problem
	FetchStalled bool
	// Problems are what is wrong with the commit; Warnings what is not wrong
	// enough to stop anything.
	Problems []Problem
	Warnings []string
	// WriteErr is what failed when the bundles were last written.
	WriteErr string
	Now      metav1.Time
}

// ForGitRepo returns the status of the GitRepo.
func ForGitRepo(f GitRepoFacts) fleet.GitRepoStatus {
	status := *f.GitRepo.Status.DeepCopy()
	status.ObservedGeneration = f.Generation
	sum := f.summarize(&status)
	status.Summary = sum.BundleSummary
	status.ReadyClusters, status.DesiredReadyClusters = clustersReady(f.Deployments)
	if f.Commit != "" {
		status.Commit, status.UpdateGeneration = f.Commit, f.ForceSync
	}
	w := writer{&status.Conditions, f.Generation, f.Now}
	f.setInput(w)
	p := f.progress(sum)
	if f.Known || p.stalled {
		w.progress(p)
	}
	status.GitJobStatus = f.jobStatus()
	status.Display = f.display(sum, p)
	setRemoving(w, removingClusters(f.Deployments))
	return status
}

func (f GitRepoFacts) summarize(status *fleet.GitRepoStatus) *summary {
	sum := &summary{}
	written := map[string]bool{}
	status.ResourceCounts = fleet.ResourceCounts{}
	status.PerClusterResourceCounts = nil
	deployments := slices.SortedFunc(slices.Values(f.Deployments), byCluster)
	for _, bd := range deployments {
		if bd.DeletionTimestamp != nil {
			continue
		}
		bundle := bd.Labels[names.LabelBundleName]
		written[bundle] = true
		sum.add(itemOf(bundle, bd))
		addCounts(&status.ResourceCounts, bd.Status.ResourceCounts)
		addPerCluster(status, bd)
	}
	// What a bundle says is pending or invalid has no deployment of its own.
	for _, b := range f.Bundles {
		for _, r := range b.Status.Summary.NonReadyResources {
			if b.DeletionTimestamp == nil && (r.State == fleet.Pending || (r.State == fleet.ErrApplied && !written[b.Name])) {
				sum.add(item{name: b.Name, state: r.State, message: r.Name + ": " + r.Message})
			}
		}
	}
	return sum
}

func byCluster(a, b *fleet.BundleDeployment) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func addPerCluster(status *fleet.GitRepoStatus, bd *fleet.BundleDeployment) {
	cluster := bd.Labels[names.LabelClusterNamespace] + "/" + bd.Labels[names.LabelCluster]
	counts, ok := status.PerClusterResourceCounts[cluster]
	if !ok && len(status.PerClusterResourceCounts) >= maxClusters {
		return
	}
	if status.PerClusterResourceCounts == nil {
		status.PerClusterResourceCounts = map[string]fleet.ResourceCounts{}
	}
	addCounts(&counts, bd.Status.ResourceCounts)
	status.PerClusterResourceCounts[cluster] = counts
}

func addCounts(into *fleet.ResourceCounts, c fleet.ResourceCounts) {
	into.Ready += c.Ready
	into.DesiredReady += c.DesiredReady
	into.WaitApplied += c.WaitApplied
	into.Modified += c.Modified
	into.Orphaned += c.Orphaned
	into.Missing += c.Missing
	into.Unknown += c.Unknown
	into.NotReady += c.NotReady
}

// clustersReady counts the clusters that have deployments, and those on which
// all of them are ready.
func clustersReady(deployments []*fleet.BundleDeployment) (ready, desired int) {
	all := map[string]bool{}
	for _, bd := range deployments {
		if bd.DeletionTimestamp != nil {
			continue
		}
		sofar, seen := all[bd.Namespace]
		all[bd.Namespace] = DeploymentState(bd) == fleet.Ready && (sofar || !seen)
	}
	for _, r := range all {
		if r {
			ready++
		}
	}
	return ready, len(all)
}

func removingClusters(deployments []*fleet.BundleDeployment) []string {
	var clusters []string
	for _, bd := range deployments {
		cluster := bd.Labels[names.LabelClusterNamespace] + "/" + bd.Labels[names.LabelCluster]
		if bd.DeletionTimestamp != nil && !slices.Contains(clusters, cluster) {
			clusters = append(clusters, cluster)
		}
	}
	return clusters
}

// setInput says whether what the user gave can be acted on.
func (f GitRepoFacts) setInput(w writer) {
	switch {
	case f.Refused != nil:
		w.set(fleet.ConditionAccepted, metav1.ConditionFalse, f.Refused.Reason, f.Refused.Message)
		return
	case len(f.Problems) > 0:
		w.set(fleet.ConditionAccepted, metav1.ConditionFalse, f.Problems[0].Reason, f.problems())
	case !f.Known:
		return
	case len(f.Warnings) > 0:
		w.set(fleet.ConditionAccepted, metav1.ConditionTrue, "Warnings", strings.Join(first(f.Warnings, maxNonReady), "; "))
	default:
		w.set(fleet.ConditionAccepted, metav1.ConditionTrue, "Accepted", "")
	}
	if f.Fetch != nil {
		w.set(fleet.ConditionGitPolling, metav1.ConditionFalse, f.Fetch.Reason, f.Fetch.Message)
		return
	}
	w.set(fleet.ConditionGitPolling, metav1.ConditionTrue, "Polled", "")
}

func (f GitRepoFacts) problems() string {
	var messages []string
	for _, p := range first(f.Problems, maxNonReady) {
		messages = append(messages, p.Message)
	}
	if more := len(f.Problems) - maxNonReady; more > 0 {
		messages = append(messages, "…")
	}
	return strings.Join(messages, "; ")
}

func (f GitRepoFacts) progress(sum *summary) progress {
	switch {
	case f.GitRepo.DeletionTimestamp != nil:
		return progress{goingOn: true, reason: "Deleting", message: "the GitRepo is being deleted"}
	case f.Refused != nil:
		return progress{stalled: true, reason: f.Refused.Reason, message: f.Refused.Message}
	case f.Fetch != nil:
		return progress{stalled: f.FetchStalled, goingOn: !f.FetchStalled, reason: f.Fetch.Reason, message: f.Fetch.Message}
	case len(f.Problems) > 0:
		return progress{stalled: true, reason: f.Problems[0].Reason, message: f.problems()}
	case f.WriteErr != "":
		return progress{goingOn: true, reason: "WriteFailed", message: f.WriteErr}
	case f.Updating:
		return progress{goingOn: true, reason: "GitUpdating", message: "a newer commit is being read"}
	}
	if problem := worstBundle(f.Bundles); problem != nil && sum.allReady() {
		return progress{stalled: true, reason: problem.Reason, message: problem.Message}
	}
	return sum.progress("Bundle")
}

// worstBundle returns what is wrong with a bundle although all its deployments
// are ready, such as a target that names a group that is not there.
func worstBundle(bundles []*fleet.Bundle) *Problem {
	for _, b := range slices.SortedFunc(slices.Values(bundles), func(a, b *fleet.Bundle) int { return strings.Compare(a.Name, b.Name) }) {
		if c := Get(b.Status.Conditions, fleet.ConditionStalled); c != nil && c.Status == metav1.ConditionTrue && c.Reason == reasonInvalid {
			return &Problem{Reason: reasonInvalid, Message: "bundle " + b.Name + ": " + c.Message}
		}
	}
	return nil
}

// jobStatus keeps the words that Fleet's users know from its Jobs.
func (f GitRepoFacts) jobStatus() string {
	switch {
	case f.Fetch != nil || f.Refused != nil || len(f.Problems) > 0:
		return "Failed"
	case f.Updating || !f.Known:
		return "InProgress"
	}
	return "Current"
}

func (f GitRepoFacts) display(sum *summary, p progress) fleet.StatusDisplay {
	d := fleet.StatusDisplay{ReadyBundleDeployments: sum.ready(), State: sum.state(), Message: clean(p.message, maxItem), Error: p.stalled}
	if f.Updating || !f.Known {
		d.State = "GitUpdating"
	}
	return d
}
