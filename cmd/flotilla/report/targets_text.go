package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// WriteText writes a table of all clusters, or, of one cluster, everything that
// the answer rests on.
func (t Targets) WriteText(out io.Writer, aboutOne, colour bool) error {
	write := t.writeTable
	if aboutOne {
		write = t.writeOne
	}
	if err := write(out, colour); err != nil {
		return err
	}
	var lines []string
	for _, b := range t.Bundles {
		for _, p := range b.Problems {
			lines = append(lines, fmt.Sprintf("problem: %s: %s: %s", b.title(), p.Field, p.Message))
		}
		switch b.Paused {
		case "GitRepo":
			lines = append(lines, fmt.Sprintf("paused: GitRepo %s is: what %s runs on its clusters stays as it is", b.GitRepo, b.title()))
		case "Bundle":
			lines = append(lines, fmt.Sprintf("paused: %s is: what it runs on its clusters stays as it is", b.title()))
		}
	}
	for _, n := range t.Notes {
		lines = append(lines, "note: "+n)
	}
	return writeLines(out, slices.Compact(lines))
}

func writeLines(out io.Writer, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, Clean(line)); err != nil {
			return err
		}
	}
	return nil
}

func (b BundleTargets) title() string {
	if b.Name == "" {
		return "gitrepo/" + b.GitRepo
	}
	return "bundle/" + b.Name
}

// writeTable writes a row for every cluster; bundles of which the same is to
// be said share it.
func (t Targets) writeTable(out io.Writer, colour bool) error {
	tab := table{header: []string{"CLUSTER", "TARGETED", "DEPLOYMENT", "BUNDLES", "WHY"}}
	type line struct {
		target  ClusterTarget
		bundles []string
	}
	var clusters []string
	lines := map[string][]line{}
	for _, b := range t.Bundles {
		for _, c := range b.Clusters {
			if lines[c.Cluster] == nil {
				clusters = append(clusters, c.Cluster)
			}
			i := slices.IndexFunc(lines[c.Cluster], func(l line) bool { return l.target.reads(c) })
			if i < 0 {
				lines[c.Cluster] = append(lines[c.Cluster], line{target: c})
				i = len(lines[c.Cluster]) - 1
			}
			lines[c.Cluster][i].bundles = append(lines[c.Cluster][i].bundles, b.shortTitle())
		}
	}
	slices.Sort(clusters)
	for _, cluster := range clusters {
		for _, l := range lines[cluster] {
			why := l.target.Message
			if l.target.Deployment == deploymentMissing && l.target.State != "" {
				why += " (" + l.target.state() + ")"
			}
			if l.target.Paused {
				why += " (the cluster is paused)"
			}
			tab.add(text(cluster), answerCell(l.target.Answer), deploymentCell(l.target), text(strings.Join(l.bundles, ",")), text(why))
		}
	}
	if len(tab.rows) == 0 {
		_, err := fmt.Fprintln(out, "No clusters.")
		return err
	}
	return tab.write(out, colour)
}

func (b BundleTargets) shortTitle() string {
	if b.Name == "" {
		return "(" + b.GitRepo + ")"
	}
	return b.Name
}

// state is what the bundle's status says, in one line.
func (c ClusterTarget) state() string {
	return strings.TrimSuffix(c.State+": "+c.StateMessage, ": ")
}

// reads says whether two answers read the same.
func (c ClusterTarget) reads(d ClusterTarget) bool {
	return c.Answer == d.Answer && c.Message == d.Message && c.Deployment == d.Deployment && c.state() == d.state()
}

func answerCell(a targeting.Answer) cell {
	switch a {
	case targeting.AnswerYes:
		return cell{string(a), good}
	case targeting.AnswerUnknown:
		return cell{string(a), doubtful}
	case targeting.AnswerNo:
	}
	return text(string(a))
}

// deploymentCell stresses what does not fit the answer.
func deploymentCell(c ClusterTarget) cell {
	fits := c.Deployment == deploymentUnknown || c.Answer == targeting.AnswerUnknown ||
		(c.Answer == targeting.AnswerYes) == (c.Deployment == deploymentPresent) && c.Deployment != deploymentRemoving
	if fits {
		return text(c.Deployment)
	}
	return cell{c.Deployment, doubtful}
}

// writeOne writes everything about one cluster, bundle by bundle.
func (t Targets) writeOne(out io.Writer, colour bool) error {
	for i, b := range t.Bundles {
		if i > 0 {
			if _, err := fmt.Fprintln(out); err != nil {
				return err
			}
		}
		for _, c := range b.Clusters {
			answer := answerCell(c.Answer)
			head := fmt.Sprintf("%s on cluster %s: ", b.title(), c.Cluster)
			tail := fmt.Sprintf(" (%s), deployment %s", c.Reason, c.Deployment)
			if _, err := fmt.Fprintln(out, Clean(head)+answer.paint(colour)+Clean(tail)); err != nil {
				return err
			}
			lines := []string{"  " + c.Message}
			if c.State != "" {
				lines = append(lines, "  state: "+c.state())
			}
			if err := writeLines(out, lines); err != nil {
				return err
			}
			if err := c.clauses(b.Mode).write(out, colour); err != nil {
				return err
			}
			if c.Paused {
				if err := writeLines(out, []string{"  paused: the cluster is: what runs on it stays as it is"}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// clauses lists every target and restriction with its criteria. A star marks
// what the answer rests on.
func (c ClusterTarget) clauses(mode string) *table {
	tab := &table{}
	list := func(title string, clauses []targeting.Clause) {
		if len(clauses) == 0 {
			return
		}
		tab.add(text("  " + title))
		for _, clause := range clauses {
			mark := "    "
			if clause.Decides {
				mark = "  * "
			}
			name := clause.Name
			if clause.DoNotDeploy {
				name += " (doNotDeploy)"
			}
			if len(clause.Criteria) == 0 {
				tab.add(text(mark+name), answerCell(clause.Answer), text(clause.Why()))
			}
			for i, criterion := range clause.Criteria {
				first := mark + name
				if i > 0 {
					first = ""
				}
				tab.add(text(first), answerCell(criterion.Answer), text(criterion.String()))
			}
		}
	}
	list("targets ("+mode+")", c.Targets)
	list("restrictions (one of them must match)", c.Restrictions)
	return tab
}
