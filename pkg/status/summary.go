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
	// BundleSummary holds the counts, and the list once told was called.
	fleet.BundleSummary
	worst fleet.BundleState
	// items are the worst few, by state, name and place, whatever the order in
	// which they came.
	items []item
}

// item is one deployment, or the lack of one, in a summary.
type item struct {
	// name is what it is called there; where tells items of one name apart.
	name, where string
	state       fleet.BundleState
	message     string
	// bd has more to say; nil if nothing has.
	bd *fleet.BundleDeployment
	// told, if set, is what another status says of it already.
	told *fleet.NonReadyResource
}

func (s *summary) add(i item) {
	s.count(i.state, 1)
	if i.state != fleet.Ready {
		s.keep(i)
	}
}

// count adds n deployments of one state.
func (s *summary) count(state fleet.BundleState, n int) {
	s.DesiredReady += n
	s.worst = Worst(s.worst, state)
	switch state {
	case fleet.Ready:
		s.Ready += n
	case fleet.Unknown:
		s.Unknown += n
	case fleet.NotReady:
		s.NotReady += n
	case fleet.WaitApplied, fleet.WaitingForDependency:
		s.WaitApplied += n
	case fleet.ErrApplied:
		s.ErrApplied += n
	case fleet.OutOfSync:
		s.OutOfSync += n
	case fleet.Modified:
		s.Modified += n
	case fleet.Pending:
		s.Pending += n
	}
}

// keep holds the item if it is one of the worst.
func (s *summary) keep(i item) {
	at, _ := slices.BinarySearchFunc(s.items, i, byUrgency)
	if at < maxNonReady {
		s.items = first(slices.Insert(s.items, at, i), maxNonReady)
	}
}

// merge adds another summary.
func (s *summary) merge(other *summary) {
	addSummary(&s.BundleSummary, other.BundleSummary)
	s.worst = Worst(s.worst, other.worst)
	for _, i := range other.items {
		s.keep(i)
	}
}

func byUrgency(a, b item) int {
	return cmp.Or(Rank(b.state)-Rank(a.state), strings.Compare(a.name, b.name), strings.Compare(a.where, b.where))
}

// list completes the summary with what it names.
func (s *summary) list() {
	s.NonReadyResources = nil
	for _, i := range s.items {
		s.NonReadyResources = append(s.NonReadyResources, i.resource())
	}
}

func (i item) resource() fleet.NonReadyResource {
	if i.told != nil {
		return *i.told
	}
	r := fleet.NonReadyResource{Name: i.name, State: i.state, Message: i.message}
	if i.bd != nil {
		r.ModifiedStatus = cleanModified(first(i.bd.Status.ModifiedStatus, maxNonReady))
		r.NonReadyStatus = cleanNonReady(first(i.bd.Status.NonReadyStatus, maxNonReady))
	}
	return r
}

// worstOf returns the worst state that a summary counts; empty if it counts
// nothing.
func worstOf(s fleet.BundleSummary) fleet.BundleState {
	for _, c := range []struct {
		state fleet.BundleState
		count int
	}{
		{fleet.ErrApplied, s.ErrApplied}, {fleet.WaitApplied, s.WaitApplied}, {fleet.Modified, s.Modified},
		{fleet.OutOfSync, s.OutOfSync}, {fleet.Pending, s.Pending}, {fleet.NotReady, s.NotReady},
		{fleet.Unknown, s.Unknown}, {fleet.Ready, s.Ready},
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
		fleet.OutOfSync: s.OutOfSync, fleet.Pending: s.Pending, fleet.Modified: s.Modified, fleet.Unknown: s.Unknown,
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
