package rollout

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

var updateFlag = flag.Bool("update", false, "record the stories anew")

// TestStories tells roll-outs from beginning to end. A line of a story that is
// not indented is an event; indented below it is what the manager does about
// it, until it has nothing more to do: what it writes, plan by plan, and what it
// holds back for which reason. Lines that start with # explain.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &story{hub: newHub(), oracle: newOracle()}
			for line := range strings.Lines(string(want)) {
				if line = strings.TrimRight(line, "\n"); strings.HasPrefix(line, "\t") {
					continue
				}
				fmt.Fprintln(&s.text, line)
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				if err := s.happens(strings.Fields(line)); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
			}
			if *updateFlag {
				if err := os.WriteFile(file, s.text.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want), s.text.String()); diff != "" && !*updateFlag {
				t.Errorf("the story goes otherwise (-file +now):\n%s", diff)
			}
		})
	}
}

type story struct {
	*hub
	oracle *oracle
	text   bytes.Buffer
}

// happens lets the event happen, and the manager do what it then does.
func (s *story) happens(event []string) error {
	verb, words := event[0], event[1:]
	switch verb {
	case "strategy":
		return s.setStrategy(words)
	case "clusters", "agentless":
		for _, name := range words[1:] {
			if n := s.add(name, words[0]); verb == "agentless" {
				n.cluster.Status.Agent.LastSeen = metav1.Time{}
			}
		}
		return nil
	case "begin":
	case "commit":
		s.version++
	case "revert":
		s.version--
	case "force":
		s.force++
	case "pause", "resume":
		if len(words) == 0 {
			s.bundle.Spec.Paused = verb == "pause"
			break
		}
		fallthrough
	default:
		if err := s.toClusters(verb, words); err != nil {
			return err
		}
	}
	return s.settle()
}

// toClusters lets the event happen to the clusters that are named.
func (s *story) toClusters(verb string, words []string) error {
	if verb == "relabel" {
		for _, name := range words[1:] {
			s.nodes[name].ring = words[0]
		}
		return nil
	}
	for _, n := range s.sorted() {
		if !slices.Contains(words, n.cluster.Name) && !slices.Contains(words, "all") {
			continue
		}
		if err := s.toCluster(verb, n); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) toCluster(verb string, n *node) error {
	switch verb {
	case "announce":
		n.announce()
	case "acknowledge":
		n.act()
	case "answer":
		n.mood = good
		n.act()
		n.act()
		n.act()
	case "fail":
		n.mood = broken
		n.act()
		n.act()
	case "break":
		n.change(func(bd *fleet.BundleDeployment) { bd.Status.Ready = false })
	case "heal":
		n.change(func(bd *fleet.BundleDeployment) { bd.Status.Ready = true })
	case "offline", "online":
		n.offline = verb == "offline"
	case "pause", "resume":
		n.cluster.Spec.Paused = verb == "pause"
	case "invalid", "valid":
		n.invalid = verb == "invalid"
	case "untarget", "target":
		n.targeted = verb == "target"
		s.collect(n)
	default:
		return fmt.Errorf("unknown event %q", verb)
	}
	n.deliver()
	return nil
}

func (s *story) setStrategy(words []string) error {
	r := &fleet.RolloutStrategy{}
	s.bundle.Spec.RolloutStrategy = r
	for _, word := range words {
		key, value, set := strings.Cut(word, "=")
		var a *intstr.IntOrString
		if set {
			parsed := intstr.Parse(value)
			a = &parsed
		}
		n, _ := strconv.Atoi(value)
		switch key {
		case "maxUnavailable":
			r.MaxUnavailable = a
		case "maxUnavailablePartitions":
			r.MaxUnavailablePartitions = a
		case "size":
			r.AutoPartitionSize = a
		case "threshold":
			r.AutoPartitionThreshold = &n
		case "maxNew":
			r.MaxNew = &n
		default:
			r.Partitions = append(r.Partitions, fleet.Partition{Name: key, MaxUnavailable: a})
		}
	}
	return nil
}

// settle plans and writes until a plan writes nothing, and tells it.
func (s *story) settle() error {
	for range 10 {
		w := s.world()
		p := Next(w)
		if err := s.oracle.check(w, p); err != nil {
			return err
		}
		s.tellSteps("create", p.Create)
		s.tellSteps("update", p.Update)
		if len(p.Create)+len(p.Update) == 0 {
			s.tellSteps("hold", p.Hold)
			s.tellState(w, p)
			return nil
		}
		for _, step := range slices.Concat(p.Create, p.Update) {
			if !s.write(step) {
				return fmt.Errorf("writing %s failed", step.Target.Cluster.Name)
			}
			if err := s.oracle.wrote(step); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("the manager does not come to an end")
}

// tellSteps tells steps of one reason in one line.
func (s *story) tellSteps(verb string, steps []Step) {
	var lines []string
	clusters := map[string][]string{}
	for _, step := range steps {
		line := string(step.Reason)
		if step.Message != "" {
			line += ": " + step.Message
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
		clusters[line] = append(clusters[line], step.Target.Cluster.Name)
	}
	for _, line := range lines {
		fmt.Fprintf(&s.text, "\t%s %s: %s\n", verb, strings.Join(clusters[line], " "), line)
	}
}

// tellState tells what runs where, and how the partitions stand if they are
// waited for.
func (s *story) tellState(w World, p Plan) {
	running := map[string][]string{}
	for _, t := range w.Targets {
		if t.Existing != nil && Available(t.Existing) {
			running[t.Existing.Status.AppliedDeploymentID] = append(running[t.Existing.Status.AppliedDeploymentID], t.Cluster.Name)
		}
	}
	for version := range s.version {
		for _, id := range []string{fmt.Sprintf("v%d", version+1), fmt.Sprintf("v%d+%d", version+1, s.force)} {
			if names := running[id]; len(names) > 0 {
				fmt.Fprintf(&s.text, "\t= %s runs on %s\n", id, strings.Join(names, " "))
			}
		}
	}
	if len(p.Settled) == len(w.Targets) {
		fmt.Fprint(&s.text, "\t= done\n")
	}
}
