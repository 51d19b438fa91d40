package status

import (
	"cmp"
	"maps"
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
	Offline     Offline
	// Stale holds the names of bundles that were written since Bundles and
	// Deployments were read, anew or for the first time.
	Stale map[string]bool
	// Generation is the newest that was acted on. Known is false until the
	// repository was asked once: until then the status keeps what it says.
	Generation int64
	Known      bool
	// Commit is the newest whose bundles are written; Updating says that a
	// newer one is on its way.
	Commit    string
	Updating  bool
	ForceSync int64
	// PolledCommit is the last that polling found without a webhook, and
	// PolledAt when; empty until it does.
	PolledCommit string
	PolledAt     metav1.Time
	// Webhook says why no webhook can be verified. WebhookKnown is false until
	// that was looked at: until then the status keeps what it says.
	Webhook      *Problem
	WebhookKnown bool
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
func ForGitRepo(f GitRepoFacts) fleet.GitRepoStatus { return f.status(f.recount()) }

// repoParts is what the deployments and bundles of a GitRepo add up to.
type repoParts struct {
	sum *summary
	// ready of clusters have nothing that is not ready.
	ready, clusters int
	counts          fleet.ResourceCounts
	perCluster      map[string]fleet.ResourceCounts
	resources       []fleet.Resource
	removing        removing
}

func (f GitRepoFacts) status(parts repoParts) fleet.GitRepoStatus {
	status := *f.GitRepo.Status.DeepCopy()
	status.ObservedGeneration = f.Generation
	sum := parts.sum
	sum.list()
	status.Summary = sum.BundleSummary
	status.ReadyClusters, status.DesiredReadyClusters = parts.ready, parts.clusters
	status.ResourceCounts, status.PerClusterResourceCounts = parts.counts, parts.perCluster
	status.Resources = parts.resources
	if f.Commit != "" {
		status.Commit, status.UpdateGeneration = f.Commit, f.ForceSync
	}
	if f.PolledCommit != "" {
		status.PollingCommit, status.LastPollingTime = f.PolledCommit, f.PolledAt
	}
	w := writer{&status.Conditions, f.Generation, f.Now}
	f.setInput(w)
	if f.WebhookKnown {
		f.setWebhook(&status.Conditions)
	}
	p := f.progress(sum)
	if f.Known || p.stalled {
		w.progress(p)
	}
	status.GitJobStatus = f.jobStatus()
	status.Display = f.display(sum, p)
	setRemoving(w, parts.removing)
	return status
}

func (f GitRepoFacts) setWebhook(conditions *[]fleet.Condition) {
	if f.Webhook == nil {
		Remove(conditions, fleet.ConditionWebhookSecret)
		return
	}
	Set(conditions, fleet.Condition{
		Type: fleet.ConditionWebhookSecret, Status: metav1.ConditionFalse, Reason: f.Webhook.Reason, Message: f.Webhook.Message,
	}, f.Now)
}

// recount adds up all deployments and bundles.
func (f GitRepoFacts) recount() repoParts {
	staying := slices.DeleteFunc(slices.Clone(f.Deployments), func(bd *fleet.BundleDeployment) bool {
		return bd.DeletionTimestamp != nil
	})
	slices.SortFunc(staying, byCluster)
	var parts repoParts
	byBundle := map[string]*summary{}
	behind := f.behind()
	for _, bd := range staying {
		bundle := bd.Labels[names.LabelBundleName]
		if byBundle[bundle] == nil {
			byBundle[bundle] = &summary{}
		}
		since := f.Offline[clusterOf(bd)]
		byBundle[bundle].add(repoItem(clusterOf(bd), bd, since, behind[bundle]))
		addCounts(&parts.counts, countsOf(bd, since != ""))
	}
	parts.sum = f.merged(byBundle)
	parts.ready, parts.clusters = clustersReady(staying, f.Offline)
	shown := pickClusters(staying, f.Offline)
	parts.perCluster, parts.resources = shown.counts(), shown.resources()
	parts.removing = removingOf(removingClusters(f.Deployments))
	return parts
}

// merged adds up the bundles: each by its deployments, or by what it says
// itself where it knows more.
func (f GitRepoFacts) merged(byBundle map[string]*summary) *summary {
	for _, b := range f.Bundles {
		if b.DeletionTimestamp == nil && knowsMore(b.Status.Summary, byBundle[b.Name]) {
			byBundle[b.Name] = fromBundle(b)
		}
	}
	sum := &summary{}
	for _, s := range byBundle {
		sum.merge(s)
	}
	return sum
}

// repoItem is a deployment as its GitRepo counts it. What is behind waits,
// whatever it says of what it runs now.
func repoItem(cluster string, bd *fleet.BundleDeployment, since string, behind bool) item {
	i := item{name: bd.Labels[names.LabelBundleName], where: cluster, state: repoState(stateOf(bd, since), behind)}
	if i.state == fleet.Ready {
		return i
	}
	if i.message = onCluster(cluster, messageOf(bd, since)); since == "" {
		i.bd = bd
	}
	return i
}

// repoState is the state of a deployment that may be behind.
func repoState(state fleet.BundleState, behind bool) fleet.BundleState {
	if behind && state != fleet.Unknown {
		return Worst(state, fleet.WaitApplied)
	}
	return state
}

// behind names the bundles whose deployments may still be those of an earlier
// commit, however ready they are.
func (f GitRepoFacts) behind() map[string]bool {
	behind := maps.Clone(f.Stale)
	if behind == nil {
		behind = map[string]bool{}
	}
	for _, b := range f.Bundles {
		if b.Status.ObservedGeneration < b.Generation {
			behind[b.Name] = true
		}
	}
	return behind
}

// knowsMore says whether a bundle knows of targets what their deployments do
// not show: that they have none yet, that the bundle's options do not hold
// there, or that the roll-out has not come to them. Else the deployments are
// ahead of the bundle.
func knowsMore(told fleet.BundleSummary, seen *summary) bool {
	if seen == nil {
		return told.DesiredReady > 0
	}
	return told.DesiredReady > seen.DesiredReady || told.ErrApplied > seen.ErrApplied || told.OutOfSync > seen.OutOfSync
}

// fromBundle returns what a bundle says of its deployments, as a GitRepo says
// it.
func fromBundle(b *fleet.Bundle) *summary {
	s := &summary{}
	addSummary(&s.BundleSummary, b.Status.Summary)
	s.worst = worstOf(s.BundleSummary)
	for _, r := range b.Status.Summary.NonReadyResources {
		i := item{name: b.Name, where: r.Name, state: r.State}
		r.Name, r.Message = b.Name, onCluster(r.Name, r.Message)
		i.told = &r
		s.keep(i)
	}
	return s
}

// onCluster says on which cluster something is wrong.
func onCluster(cluster, message string) string {
	if message == "" {
		return cluster
	}
	return clean(cluster+": "+message, maxItem)
}

func byCluster(a, b *fleet.BundleDeployment) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// clusterOf returns the deployment's cluster as "namespace/name".
func clusterOf(bd *fleet.BundleDeployment) string {
	return bd.Labels[names.LabelClusterNamespace] + "/" + bd.Labels[names.LabelCluster]
}

// addCounts adds what an agent counted, or the sum of several. No agent can
// turn the sum by counting less than nothing or more than there can be.
func addCounts(into *fleet.ResourceCounts, c fleet.ResourceCounts) {
	add := func(into *int, n int) { *into = min(*into+min(max(n, 0), most), most) }
	add(&into.Ready, c.Ready)
	add(&into.DesiredReady, c.DesiredReady)
	add(&into.WaitApplied, c.WaitApplied)
	add(&into.Modified, c.Modified)
	add(&into.Orphaned, c.Orphaned)
	add(&into.Missing, c.Missing)
	add(&into.Unknown, c.Unknown)
	add(&into.NotReady, c.NotReady)
}

// clustersReady counts the clusters that have deployments, and those on which
// all of them are ready.
func clustersReady(staying []*fleet.BundleDeployment, offline Offline) (ready, desired int) {
	all := map[string]bool{}
	for _, bd := range staying {
		sofar, seen := all[clusterOf(bd)]
		all[clusterOf(bd)] = stateOf(bd, offline[clusterOf(bd)]) == fleet.Ready && (sofar || !seen)
	}
	for _, r := range all {
		if r {
			ready++
		}
	}
	return ready, len(all)
}

func removingClusters(deployments []*fleet.BundleDeployment) []string {
	clusters := map[string]bool{}
	for _, bd := range deployments {
		if bd.DeletionTimestamp != nil {
			clusters[clusterOf(bd)] = true
		}
	}
	return slices.Collect(maps.Keys(clusters))
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
	case f.Commit == "":
		// Nothing was read yet, so nothing is known about it.
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
	if problem := worstBundle(f.Bundles); problem != nil {
		return progress{stalled: true, reason: problem.Reason, message: problem.Message}
	}
	if b := firstNotReady(f.Bundles); b != nil && sum.allReady() {
		// The bundle knows already what its deployments do not show yet.
		c := Get(b.Status.Conditions, fleet.ConditionReady)
		unknown := c.Status == metav1.ConditionUnknown
		return progress{goingOn: !unknown, unknown: unknown, reason: c.Reason, message: "bundle " + b.Name + ": " + c.Message}
	}
	if name := f.firstUnknown(); name != "" && sum.allReady() {
		return progress{goingOn: true, reason: string(fleet.WaitApplied), message: "bundle " + name + ": its targets are being looked for"}
	}
	return sum.progress("Bundle")
}

// firstNotReady returns the first bundle, by name, that says that it is not
// ready.
func firstNotReady(bundles []*fleet.Bundle) *fleet.Bundle {
	var found *fleet.Bundle
	for _, b := range bundles {
		c := Get(b.Status.Conditions, fleet.ConditionReady)
		if b.DeletionTimestamp == nil && c != nil && c.Status != metav1.ConditionTrue && (found == nil || b.Name < found.Name) {
			found = b
		}
	}
	return found
}

// firstUnknown returns the first bundle, by name, of which it is not known yet
// what its deployments should be.
func (f GitRepoFacts) firstUnknown() string {
	behind := f.behind()
	for _, b := range f.Bundles {
		if b.DeletionTimestamp != nil {
			delete(behind, b.Name)
		}
	}
	if len(behind) == 0 {
		return ""
	}
	return slices.Min(slices.Collect(maps.Keys(behind)))
}

// worstBundle returns what a user has to put right about a bundle itself, such
// as a target that names a group that is not there. It counts more than what
// its deployments say: nothing about them changes before that.
func worstBundle(bundles []*fleet.Bundle) *Problem {
	var found *fleet.Bundle
	var message string
	for _, b := range bundles {
		c := Get(b.Status.Conditions, fleet.ConditionStalled)
		if c != nil && c.Status == metav1.ConditionTrue && c.Reason == reasonInvalid && (found == nil || b.Name < found.Name) {
			found, message = b, c.Message
		}
	}
	if found == nil {
		return nil
	}
	return &Problem{Reason: reasonInvalid, Message: "bundle " + found.Name + ": " + message}
}

// jobStatus keeps the words that Fleet's users know from its Jobs.
func (f GitRepoFacts) jobStatus() string {
	switch {
	case f.Fetch != nil || f.Refused != nil || len(f.Problems) > 0:
		return "Failed"
	case f.Updating:
		return "InProgress"
	case !f.Known:
		// After a start of the manager what was said before stands.
		return cmp.Or(f.GitRepo.Status.GitJobStatus, "InProgress")
	}
	return "Current"
}

func (f GitRepoFacts) display(sum *summary, p progress) fleet.StatusDisplay {
	d := fleet.StatusDisplay{ReadyBundleDeployments: sum.ready(), State: sum.state(), Message: clean(p.message, maxItem), Error: p.stalled}
	before := f.GitRepo.Status
	if !f.Known && !p.stalled {
		d.Message, d.Error = before.Display.Message, before.Display.Error
	}
	if f.Updating || !f.Known && before.Commit == "" {
		d.State = "GitUpdating"
	}
	return d
}
