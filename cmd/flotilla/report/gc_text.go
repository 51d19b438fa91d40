package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// WriteText writes what is going, and what is to be done about what is held.
func (g GarbageCollection) WriteText(out io.Writer, now time.Time, colour bool) error {
	tab := table{header: []string{"STATE", "KIND", "NAME", "CLUSTER", "SINCE", "WAITING FOR", "WHY"}}
	for _, r := range g.Removals {
		name := r.Bundle
		if r.Bundle == "" {
			name = r.Namespace + "/" + r.Name
		}
		tab.add(stateCell(r.State), text(r.Kind), text(name), text(r.Cluster), text(age(r.Since, now)), text(r.WaitingFor), text(r.Message))
	}
	if len(tab.rows) == 0 {
		if _, err := fmt.Fprintln(out, "Nothing is being removed."); err != nil {
			return err
		}
	} else if err := tab.write(out, colour); err != nil {
		return err
	}
	var lines []string
	for _, h := range g.Holds {
		lines = append(lines, h.lines(now)...)
	}
	for _, n := range g.Notes {
		lines = append(lines, "note: "+n)
	}
	return writeLines(out, lines)
}

func (h Hold) lines(now time.Time) []string {
	ref := strings.ToLower(h.Kind) + "/" + h.Name
	where := fmt.Sprintf("flotilla gc release -n %s %s", h.Namespace, ref)
	var lines []string
	if h.Hand {
		lines = append(lines, fmt.Sprintf("hold: %s in %s: a person holds its removals; to let them go: %s", ref, h.Namespace, where))
	}
	if h.Pruning {
		lines = append(lines, fmt.Sprintf("held: %s in %s since %s: %s", ref, h.Namespace, age(h.Since, now), h.Message))
	}
	if h.Releasing {
		lines = append(lines, fmt.Sprintf("released: %s in %s: the garbage collector has yet to act on it", ref, h.Namespace))
	}
	return lines
}

func stateCell(s RemovalState) cell {
	switch s {
	case RemovalHeld, RemovalOrphaned:
		return cell{string(s), bad}
	case RemovalDue, RemovalRemoving:
	}
	return cell{string(s), doubtful}
}

// age writes a time as how long ago it was.
func age(since string, now time.Time) string {
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return ""
	}
	return duration.HumanDuration(max(now.Sub(at), 0))
}
