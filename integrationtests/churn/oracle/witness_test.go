package oracle

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// tale feeds a witness with changes, a second apart unless it says otherwise.
type tale struct {
	*testing.T
	*Witness
	now      time.Time
	revision int64
}

func newTale(t *testing.T) *tale {
	s := &tale{T: t, Witness: NewWitness(nil), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s.cluster("prod")
	s.bundle(nil)
	s.deploy()
	return s
}

func (s *tale) change(resource, namespace, name string, obj any) {
	s.Helper()
	s.revision++
	c := harness.Change{Revision: s.revision, At: s.now, Resource: "fleet.cattle.io/" + resource, Namespace: namespace, Name: name}
	if obj != nil {
		data, err := json.Marshal(obj)
		if err != nil {
			s.Fatal(err)
		}
		c.Value = data
	}
	s.Hear(c)
}

func (s *tale) cluster(environment string) {
	s.Helper()
	c := harness.NewCluster("ws", "one", map[string]string{"env": environment})
	c.Status.Namespace = place()
	s.change("clusters", "ws", "one", c)
}

func place() string { return names.ClusterNamespace("ws", "one") }

func (s *tale) bundle(edit func(*fleet.Bundle)) {
	s.Helper()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "web"}}
	b.Spec.Targets = []fleet.BundleTarget{{ClusterSelector: in("prod")}}
	if edit != nil {
		edit(b)
	}
	s.change("bundles", "ws", "web", b)
}

func (s *tale) deploy() {
	s.Helper()
	bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{Namespace: place(), Name: "web", Labels: map[string]string{
		names.LabelBundleName: "web", names.LabelBundleNamespace: "ws", names.LabelCluster: "one", names.LabelClusterNamespace: "ws",
	}}}
	bd.UID = "uid"
	s.change("bundledeployments", place(), "web", bd)
}

func (s *tale) undeploy() {
	s.Helper()
	s.change("bundledeployments", place(), "web", nil)
}

func TestWitnessJudgesDeletions(t *testing.T) {
	tests := []struct {
		name string
		tell func(s *tale)
		late int
		bad  bool
	}{
		{"for no reason", (*tale).undeploy, 0, true},
		{"after the cluster was relabelled", func(s *tale) {
			s.cluster("dev")
			s.undeploy()
		}, 0, false},
		{"after it was relabelled back", func(s *tale) {
			s.cluster("dev")
			s.cluster("prod")
			s.undeploy()
		}, 1, false},
		{"long after it was relabelled back", func(s *tale) {
			s.cluster("dev")
			s.cluster("prod")
			s.now = s.now.Add(2 * inFlight)
			s.undeploy()
		}, 0, true},
		{"with the bundle in the balance", func(s *tale) {
			s.bundle(func(b *fleet.Bundle) { b.Spec.Targets[0].ClusterSelector = garbled() })
			s.undeploy()
		}, 0, true},
		{"with the bundle gone", func(s *tale) {
			s.change("bundles", "ws", "web", nil)
			s.undeploy()
		}, 0, false},
		{"although a person said to hold", func(s *tale) {
			s.bundle(func(b *fleet.Bundle) { b.Annotations = map[string]string{names.AnnotationHold: "true"} })
			s.now = s.now.Add(2 * inFlight)
			s.cluster("dev")
			s.undeploy()
		}, 0, true},
		{"by the test itself", func(s *tale) {
			s.Allow("uid")
			s.undeploy()
		}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTale(t)
			s.now = s.now.Add(time.Hour)
			tt.tell(s)
			if got := len(s.Offences()) > 0; got != tt.bad {
				t.Errorf("offences are %q", s.Offences())
			}
			if got := s.Counts(); got.Late != tt.late || got.Deletions != 1 {
				t.Errorf("counts are %+v, want %d late", got, tt.late)
			}
			// Looking back has left the world as it was.
			s.Look(func(w *World) {
				if len(w.Deployments) > 0 || len(w.Clusters) != 1 {
					t.Errorf("the world has %d deployments and %d clusters", len(w.Deployments), len(w.Clusters))
				}
			})
		})
	}
}

func TestSettledFindsWhatIsWrong(t *testing.T) {
	tests := []struct {
		name string
		tell func(s *tale)
		want string
	}{
		{"a deployment that is left", func(s *tale) { s.cluster("dev") }, "is left"},
		{"a deployment that is missing", (*tale).undeploy, "has no deployment"},
		{"an orphan", func(s *tale) { s.change("bundles", "ws", "web", nil) }, "orphan"},
		{"a count", func(s *tale) {
			s.bundle(func(b *fleet.Bundle) { b.Status.Summary.DesiredReady = 2 })
		}, "of 2, counted"},
		{"a brake for nothing", func(s *tale) {
			s.bundle(func(b *fleet.Bundle) {
				b.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionPruneHeld, Status: "True"}}
			})
		}, "nothing is held"},
		{"a content that nobody has", func(*tale) {}, "content"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTale(t)
			tt.tell(s)
			if wrong := strings.Join(s.Settled(Facts{}), "\n"); !strings.Contains(wrong, tt.want) {
				t.Errorf("found only:\n%s\nwant something with %q", wrong, tt.want)
			}
		})
	}
}
