package deployments

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// node returns a ready neighbour that depends on bundles by name.
func node(name string, dependsOn ...string) Neighbour {
	n := Neighbour{Name: name, Bundle: name, Workspace: "ws", State: fleet.Ready, Labels: map[string]string{"name": name}}
	for _, d := range dependsOn {
		n.DependsOn = append(n.DependsOn, fleet.BundleRef{Name: d})
	}
	return n
}

func inState(n Neighbour, state fleet.BundleState) Neighbour {
	n.State = state
	return n
}

func removing(n Neighbour) Neighbour {
	n.Removing = true
	return n
}

func TestUnmet(t *testing.T) {
	bySelector := func(key string, accepted ...fleet.BundleState) Neighbour {
		n := node("self")
		n.DependsOn = []fleet.BundleRef{{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": key}}, AcceptedStates: accepted,
		}}
		return n
	}
	tier := func(n Neighbour, tier string) Neighbour {
		n.Labels = map[string]string{"tier": tier}
		return n
	}
	elsewhere := node("base")
	elsewhere.Workspace = "other"
	for _, test := range []struct {
		name   string
		self   Neighbour
		others []Neighbour
		says   []string // empty: nothing holds it back
	}{
		{name: "nothing to wait for", self: node("self"), others: []Neighbour{inState(node("base"), fleet.NotReady)}},
		{name: "ready", self: node("self", "base"), others: []Neighbour{node("base")}},
		{name: "missing", self: node("self", "base"), says: []string{"no bundle that matches bundle base"}},
		{name: "of another workspace", self: node("self", "base"), others: []Neighbour{elsewhere}, says: []string{"no bundle that matches"}},
		{name: "one of two", self: node("self", "a", "b"), others: []Neighbour{node("a"), inState(node("b"), fleet.ErrApplied)}, says: []string{"b is ErrApplied"}},
		{name: "being removed", self: node("self", "base"), others: []Neighbour{removing(node("base"))}, says: []string{"base is being removed"}},
		{
			name: "all that match", self: bySelector("db"), says: []string{"two is NotReady"},
			others: []Neighbour{tier(node("one"), "db"), tier(inState(node("two"), fleet.NotReady), "db"), tier(inState(node("three"), fleet.NotReady), "web")},
		},
		{
			name: "accepted in another state", self: bySelector("db", fleet.Ready, fleet.Modified),
			others: []Neighbour{tier(inState(node("one"), fleet.Modified), "db")},
		},
		{
			name: "accepted in other states only", self: bySelector("db", fleet.NotReady), says: []string{"waiting for bundles with labels tier=db to be NotReady: one is Ready"},
			others: []Neighbour{tier(node("one"), "db")},
		},
		{
			name: "a circle is named", self: node("self", "a"), says: []string{"a is WaitApplied", "self → a → b → self"},
			others: []Neighbour{inState(node("a", "b"), fleet.WaitApplied), inState(node("b", "self"), fleet.WaitApplied)},
		},
		{name: "itself is never meant", self: node("self", "self"), says: []string{"no bundle that matches bundle self"}},
		{
			name: "a selector that cannot be read", says: []string{"cannot be read"},
			self: Neighbour{Name: "self", Workspace: "ws", DependsOn: []fleet.BundleRef{{Selector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}},
			}}}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(unmet(test.self, test.others), "; ")
			if (got == "") != (len(test.says) == 0) {
				t.Fatalf("it says %q", got)
			}
			for _, want := range test.says {
				if !strings.Contains(got, want) {
					t.Errorf("it says %q, want %q in it", got, want)
				}
			}
		})
	}
}

func TestDependentsGoFirst(t *testing.T) {
	for _, test := range []struct {
		name   string
		self   Neighbour
		others []Neighbour
		want   []string
	}{
		{name: "nobody", self: removing(node("base")), others: []Neighbour{removing(node("other"))}},
		{name: "one that goes, too", self: removing(node("base")), others: []Neighbour{removing(node("top", "base"))}, want: []string{"top"}},
		{name: "one that stays", self: removing(node("base")), others: []Neighbour{node("top", "base")}},
		{
			name: "a circle orders nothing, or it would never end", self: removing(node("a", "b")),
			others: []Neighbour{removing(node("b", "a"))},
		},
		{
			name: "a longer circle", self: removing(node("a", "b")),
			others: []Neighbour{removing(node("b", "c")), removing(node("c", "a"))},
		},
		{
			name: "in front of a circle", self: removing(node("a", "b")),
			others: []Neighbour{removing(node("b", "a")), removing(node("top", "a"))}, want: []string{"top"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := dependents(test.self, test.others); !slices.Equal(got, test.want) {
				t.Errorf("waits for %q, want %q", got, test.want)
			}
		})
	}
}

// However deployments depend on each other, when all are removed at once there
// is always one that waits for nobody.
func TestRemovalNeverLocksUp(t *testing.T) {
	const n = 4
	letters := []string{"a", "b", "c", "d"}
	for edges := range 1 << (n * (n - 1)) {
		var all []Neighbour
		bit := 0
		for i := range n {
			var dependsOn []string
			for j := range n {
				if i == j {
					continue
				}
				if edges>>bit&1 == 1 {
					dependsOn = append(dependsOn, letters[j])
				}
				bit++
			}
			all = append(all, removing(node(letters[i], dependsOn...)))
		}
		left := all
		for len(left) > 0 {
			var next []Neighbour
			for i, self := range left {
				others := slices.Delete(slices.Clone(left), i, i+1)
				if len(dependents(self, others)) > 0 {
					next = append(next, self)
				}
			}
			if len(next) == len(left) {
				t.Fatalf("with edges %b everybody waits", edges)
			}
			left = next
		}
	}
}
