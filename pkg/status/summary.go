package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// summary accumulates the states of deployments.
type summary struct {
	fleet.BundleSummary
	worst fleet.BundleState
}

// item is one deployment, or the lack of one, in a summary.
type item struct {
	name    string
	state   fleet.BundleState
	message string
	bd      *fleet.BundleDeployment
}

func itemOf(name string, bd *fleet.BundleDeployment) item {
	return item{name: name, state: DeploymentState(bd), message: DeploymentMessage(bd), bd: bd}
}

// behind turns the item of a deployment that something newer is on its way to
// into one that waits, whatever it says of what it runs now.
func (i item) behind(is bool) item {
	if is && Rank(i.state) < Rank(fleet.WaitApplied) {
		i.state = fleet.WaitApplied
	}
	return i
}

func (s *summary) add(i item) {
	s.DesiredReady++
	s.worst = Worst(s.worst, i.state)
	switch i.state {
	case fleet.Ready:
		s.Ready++
		return
	case fleet.NotReady:
		s.NotReady++
	case fleet.WaitApplied, fleet.WaitingForDependency:
		s.WaitApplied++
	case fleet.ErrApplied:
		s.ErrApplied++
	case fleet.OutOfSync:
		s.OutOfSync++
	case fleet.Modified:
		s.Modified++
	case fleet.Pending:
		s.Pending++
	}
	s.keep(i)
}

// keep holds the worst few, by state and then by name, whatever the order in
// which they come.
func (s *summary) keep(i item) {
	r := fleet.NonReadyResource{Name: i.name, State: i.state, Message: i.message}
	if s.place(r) >= maxNonReady {
		return
	}
	if i.bd != nil {
		r.ModifiedStatus = cleanModified(first(i.bd.Status.ModifiedStatus, maxNonReady))
		r.NonReadyStatus = cleanNonReady(first(i.bd.Status.NonReadyStatus, maxNonReady))
	}
	s.insert(r)
}

// insert puts one more item where it belongs.
func (s *summary) insert(r fleet.NonReadyResource) {
	if at := s.place(r); at < maxNonReady {
		s.NonReadyResources = first(slices.Insert(s.NonReadyResources, at, r), maxNonReady)
	}
}

func (s *summary) place(r fleet.NonReadyResource) int {
	at, _ := slices.BinarySearchFunc(s.NonReadyResources, r, byUrgency)
	return at
}

// merge adds another summary.
func (s *summary) merge(other *summary) {
	addSummary(&s.BundleSummary, other.BundleSummary)
	s.worst = Worst(s.worst, other.worst)
	for _, r := range other.NonReadyResources {
		s.insert(r)
	}
}

func byUrgency(a, b fleet.NonReadyResource) int {
	return cmp.Or(Rank(b.State)-Rank(a.State), strings.Compare(a.Name, b.Name), strings.Compare(a.Message, b.Message))
}

// worstOf returns the worst state that a summary counts; empty if it counts
// nothing.
func worstOf(s fleet.BundleSummary) fleet.BundleState {
	for _, c := range []struct {
		state fleet.BundleState
		count int
	}{
		{fleet.ErrApplied, s.ErrApplied}, {fleet.WaitApplied, s.WaitApplied}, {fleet.Modified, s.Modified},
		{fleet.OutOfSync, s.OutOfSync}, {fleet.Pending, s.Pending}, {fleet.NotReady, s.NotReady}, {fleet.Ready, s.Ready},
	} {
		if c.count > 0 {
			return c.state
		}
	}
	return ""
}

// cleanModified makes what an agent reported fit to show elsewhere. What is in
// a Secret stays there.
func cleanModified(all []fleet.ModifiedStatus) []fleet.ModifiedStatus {
	var result []fleet.ModifiedStatus
	for _, m := range all {
		m.Kind, m.APIVersion = clean(m.Kind, maxName), clean(m.APIVersion, maxName)
		m.Namespace, m.Name = clean(m.Namespace, maxName), clean(m.Name, maxName)
		if m.Patch = clean(m.Patch, maxItem); strings.EqualFold(m.Kind, "secret") {
			m.Patch = ""
		}
		result = append(result, m)
	}
	return result
}

// cleanNonReady makes what an agent reported fit to show elsewhere.
func cleanNonReady(all []fleet.NonReadyStatus) []fleet.NonReadyStatus {
	var result []fleet.NonReadyStatus
	for _, n := range all {
		n.UID = types.UID(clean(string(n.UID), maxName))
		n.Kind, n.APIVersion = clean(n.Kind, maxName), clean(n.APIVersion, maxName)
		n.Namespace, n.Name = clean(n.Namespace, maxName), clean(n.Name, maxName)
		n.Summary.State = clean(n.Summary.State, maxName)
		messages := n.Summary.Message
		n.Summary.Message = nil
		for _, message := range first(messages, maxLines) {
			n.Summary.Message = append(n.Summary.Message, clean(message, maxItem))
		}
		result = append(result, n)
	}
	return result
}

func first[T any](all []T, n int) []T {
	if len(all) > n {
		return all[:n]
	}
	return all
}

// state returns the worst state, Ready if there is nothing.
func (s *summary) state() string {
	if s.worst == "" {
		return string(fleet.Ready)
	}
	return string(s.worst)
}

func (s *summary) allReady() bool { return s.Ready == s.DesiredReady }

func (s *summary) ready() string { return fmt.Sprintf("%d/%d", s.Ready, s.DesiredReady) }

// ReadyMessage tells what is not ready, state by state, with the first item of
// each state and what is wrong with it. kind is what the items are.
func ReadyMessage(s fleet.BundleSummary, kind string) string {
	var messages []string
	for state, count := range map[fleet.BundleState]int{
		fleet.NotReady: s.NotReady, fleet.WaitApplied: s.WaitApplied, fleet.ErrApplied: s.ErrApplied,
		fleet.OutOfSync: s.OutOfSync, fleet.Pending: s.Pending, fleet.Modified: s.Modified,
	} {
		if count > 0 {
			messages = append(messages, stateMessage(s, state, count, kind)...)
		}
	}
	slices.Sort(messages)
	return strings.Join(messages, "; ")
}

func stateMessage(s fleet.BundleSummary, state fleet.BundleState, count int, kind string) []string {
	i := slices.IndexFunc(s.NonReadyResources, func(r fleet.NonReadyResource) bool { return r.State == state })
	if i < 0 {
		return []string{fmt.Sprintf("%s(%d)", state, count)}
	}
	r := s.NonReadyResources[i]
	head := fmt.Sprintf("%s(%d) [%s %s]", state, count, kind, r.Name)
	if r.Message != "" {
		head = fmt.Sprintf("%s(%d) [%s %s: %s]", state, count, kind, r.Name, r.Message)
	}
	messages := []string{head}
	for _, m := range first(r.ModifiedStatus, maxLines) {
		messages = append(messages, ModifiedMessage(m))
	}
	for _, n := range first(r.NonReadyStatus, maxLines) {
		messages = append(messages, NonReadyMessage(n))
	}
	return messages
}

// ModifiedMessage tells how one object differs from what was applied.
func ModifiedMessage(m fleet.ModifiedStatus) string {
	object := objectName(m.Kind, m.APIVersion, m.Namespace, m.Name)
	switch {
	case m.Create && m.Exist:
		return object + " is not owned by us"
	case m.Create:
		return object + " missing"
	case m.Delete:
		return object + " extra"
	}
	return strings.TrimSpace(object + " modified " + clean(m.Patch, maxItem))
}

// NonReadyMessage tells why one object is not ready.
func NonReadyMessage(n fleet.NonReadyStatus) string {
	object := objectName(n.Kind, n.APIVersion, n.Namespace, n.Name)
	var flags []string
	if n.Summary.Transitioning {
		flags = append(flags, "progressing")
	}
	if n.Summary.Error {
		flags = append(flags, "error")
	}
	text := object
	if len(flags) > 0 {
		text += " [" + strings.Join(flags, ",") + "]"
	} else if n.Summary.State != "" {
		text += " [" + n.Summary.State + "]"
	}
	if len(n.Summary.Message) > 0 {
		text += " " + strings.Join(n.Summary.Message, ", ")
	}
	return text
}

// objectName writes an object the way that users of this API know it:
// kind.group ns/name, where the core group is written as its version.
func objectName(kind, apiVersion, namespace, name string) string {
	group, _, _ := strings.Cut(apiVersion, "/")
	id := name
	if namespace != "" {
		id = namespace + "/" + name
	}
	return fmt.Sprintf("%s.%s %s", strings.ToLower(kind), group, id)
}
