package report

import (
	"fmt"
	"io"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// WriteText writes the items as a tree: what belongs to something is indented
// below it.
func (s Status) WriteText(out io.Writer, colour bool) error {
	tab := table{header: []string{"NAME", "READY", "STATE", "COMMIT", "MESSAGE"}}
	waiting := false
	for _, item := range s.Items {
		item.addTo(&tab, "")
		waiting = waiting || item.waitsForOffline()
	}
	if len(tab.rows) == 0 {
		_, err := fmt.Fprintln(out, "No GitRepos and no Bundles, and every Cluster is ready.")
		return err
	}
	if err := tab.write(out, colour); err != nil {
		return err
	}
	if waiting {
		return writeLines(out, []string{"note: only clusters that are offline are missing somewhere: --ignore-offline leaves them out"})
	}
	return nil
}

const indent = "  "

func (i StatusItem) addTo(tab *table, prefix string) {
	state := cell{i.State, bad}
	switch {
	case i.Ready:
		state.tone = good
	case i.ObservedGeneration < i.Generation || i.Reason != i.State:
		state.tone = doubtful
	}
	counts := fmt.Sprintf("%d/%d", i.Deployments.Ready, i.Deployments.Desired)
	tab.add(text(prefix+strings.ToLower(i.Kind)+"/"+i.Name), text(counts), state, text(fmt.Sprintf("%.12s", i.Commit)), text(i.message()))
	prefix += indent
	if i.Held != "" {
		tab.add(text(prefix+"held"), text(""), text(""), text(""), text(i.Held))
	}
	if i.Removing != "" {
		tab.add(text(prefix+"removing"), text(""), text(""), text(""), text(i.Removing))
	}
	for _, b := range i.Bundles {
		b.addTo(tab, prefix)
	}
	for _, n := range i.NotReady {
		tab.add(text(prefix+n.Name), text(""), cell{n.State, toneOf(n.State)}, text(""), text(strings.Join(append(nonEmpty(n.Message), n.Objects...), "; ")))
	}
	if i.NotNamed > 0 && len(i.NotReady) > 0 {
		tab.add(text(fmt.Sprintf("%s… and %d more", prefix, i.NotNamed)))
	}
}

func toneOf(state string) tone {
	switch fleet.BundleState(state) {
	case fleet.ErrApplied, fleet.NotReady, fleet.Modified:
		return bad
	default:
		return doubtful
	}
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// message is what is wrong, unless the lines below say it in more detail.
func (i StatusItem) message() string {
	text := i.WaitingFor
	if i.Reason == i.State && i.ObservedGeneration >= i.Generation && !i.Ready {
		behind := 0
		for _, b := range i.Bundles {
			if !b.Ready {
				behind++
			}
		}
		switch {
		case behind > 0:
			text = fmt.Sprintf("%d of %d bundles not ready", behind, len(i.Bundles))
		case len(i.NotReady) > 0:
			text = fmt.Sprintf("%d of %d deployments not ready", i.Deployments.Desired-i.Deployments.Ready, i.Deployments.Desired)
		}
	}
	if i.Ready && i.Offline != "" {
		text = i.Offline
	}
	if i.Paused {
		text = strings.TrimPrefix(text+"; paused", "; ")
	}
	return text
}

// waitsForOffline says whether it, or something below it, would be ready but
// for clusters that are offline.
func (i StatusItem) waitsForOffline() bool {
	if !i.Ready && (i.onlyOffline() || i.Offline != "") {
		return true
	}
	for _, b := range i.Bundles {
		if b.waitsForOffline() {
			return true
		}
	}
	return false
}
