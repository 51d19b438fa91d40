package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestLimit(t *testing.T) {
	tests := []struct {
		count  int
		values []*intstr.IntOrString
		want   int
	}{
		{10, of(amount(5)), 5},
		{10, of(amount(15)), 10},
		{0, of(amount(15)), 1},
		{-15, of(amount(15)), 1},
		{10, of(share("50%")), 5},
		{11, of(share("100%")), 11},
		{10, of(share("150%")), 10},
		{10, of(share("10%")), 1},
		{10, of(share("-10%")), 1},
		{5, of(share("10%")), 1},
		{10, of(share("49%")), 4},
		{4, of(share("1%")), 1},
		{4, of(share("25%")), 1},
		{4, of(share("49%")), 1},
		{4, of(share("50%")), 2},
		{4, of(amount(0)), 0},
		// No value is all, the first that is set counts.
		{10, nil, 10},
		{10, of(nil), 10},
		{10, of(nil, amount(3)), 3},
		{10, of(amount(2), amount(3)), 2},
		{10, of(nil, share("20%"), amount(3)), 2},
		// Numbers that YAML takes for text, odd shares, and what makes no sense.
		{10, of(share("3")), 3},
		{10, of(share("0")), 0},
		{10, of(amount(-1)), 0},
		{10, of(share("-1")), 0},
		{1000, of(share("0.5%")), 5},
		{10, of(share("33.3%")), 3},
		{10, of(share("0%")), 1},
		{10, of(share("99999999999999999999%")), 10},
		{100, of(share("29%")), 29},
		{100, of(share("57%")), 57},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v of %d", tt.values, tt.count), func(t *testing.T) {
			got, err := limit(tt.count, tt.values...)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func of(values ...*intstr.IntOrString) []*intstr.IntOrString { return values }

func TestLimitRefusesWhatIsNoAmount(t *testing.T) {
	for _, text := range []string{"", "%", "many", "5 %", "five%", "NaN%", "Inf%", "-Inf%", "1.5", "5%%", "0x10"} {
		if n, err := limit(10, share(text)); err == nil || n != 0 {
			t.Errorf("%q is %d, %v", text, n, err)
		}
	}
}

// targets of clusters that have never had a deployment.
func targets(n int) []Target {
	ts := make([]Target, n)
	for i := range ts {
		ts[i] = target(cluster(fmt.Sprintf("c%04d", i)), func(t *Target) { t.Partition = -1 })
	}
	return ts
}

func strategically(s *fleet.RolloutStrategy) *fleet.Bundle {
	return web(func(b *fleet.Bundle) { b.Spec.RolloutStrategy = s })
}

func TestAutomaticPartitions(t *testing.T) {
	tests := []struct {
		name     string
		targets  int
		strategy *fleet.RolloutStrategy
		want     []int
	}{
		{"no targets", 0, nil, []int{0}},
		{"size 100", 200, &fleet.RolloutStrategy{AutoPartitionSize: amount(100)}, []int{100, 100}},
		{"below the threshold", 199, &fleet.RolloutStrategy{AutoPartitionSize: share("25%"), MaxUnavailable: amount(1)}, []int{199}},
		{"no strategy", 200, nil, []int{50, 50, 50, 50}},
		{"an empty strategy", 200, &fleet.RolloutStrategy{}, []int{50, 50, 50, 50}},
		{"a rest", 230, nil, []int{57, 57, 57, 57, 2}},
		{"49%", 1000, &fleet.RolloutStrategy{AutoPartitionSize: share("49%")}, []int{490, 490, 20}},
		{"10%", 1000, &fleet.RolloutStrategy{AutoPartitionSize: share("10%"), MaxUnavailable: share("10%")}, slices.Repeat([]int{100}, 10)},
		{"threshold 50 reached", 50, &fleet.RolloutStrategy{AutoPartitionThreshold: count(50), AutoPartitionSize: share("50%")}, []int{25, 25}},
		{"threshold 50 not reached", 49, &fleet.RolloutStrategy{AutoPartitionThreshold: count(50), AutoPartitionSize: share("50%")}, []int{49}},
		{"threshold 0", 500, &fleet.RolloutStrategy{AutoPartitionThreshold: count(0)}, []int{500}},
		{"a threshold that makes no sense", 500, &fleet.RolloutStrategy{AutoPartitionThreshold: count(-1)}, []int{500}},
		{"size 0", 500, &fleet.RolloutStrategy{AutoPartitionSize: amount(0)}, []int{500}},
		{"size 0 as text", 500, &fleet.RolloutStrategy{AutoPartitionSize: share("0")}, []int{500}},
		{"a size that cannot be read", 500, &fleet.RolloutStrategy{AutoPartitionSize: share("some")}, []int{500}},
		{"size 1", 3, &fleet.RolloutStrategy{AutoPartitionThreshold: count(1), AutoPartitionSize: amount(1)}, []int{1, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := Next(World{Bundle: strategically(tt.strategy), Targets: targets(tt.targets)})
			var got []int
			for _, p := range plan.Partitions {
				got = append(got, p.Count)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestAutomaticPartitionsHaveNamesAndLimits(t *testing.T) {
	plan := Next(World{Targets: targets(1000), Bundle: strategically(&fleet.RolloutStrategy{
		AutoPartitionSize: share("10%"), MaxUnavailable: share("10%"), MaxUnavailablePartitions: share("25%"),
	})})
	for i, p := range plan.Partitions {
		if want := fmt.Sprintf("Partition %d - %d", 100*i, 100*(i+1)); p.Name != want || p.MaxUnavailable != 10 {
			t.Errorf("partition %d is %+v", i, p)
		}
	}
	if plan.MaxUnavailable != 100 || plan.MaxUnavailablePartitions != 2 {
		t.Errorf("may be unavailable: %d clusters and %d partitions", plan.MaxUnavailable, plan.MaxUnavailablePartitions)
	}
	if plan := Next(World{Bundle: web(), Targets: targets(3)}); plan.Partitions[0].Name != "All" || plan.MaxUnavailable != 3 || plan.MaxUnavailablePartitions != 0 {
		t.Errorf("without a strategy the plan has %+v", plan)
	}
}

func TestManualPartitions(t *testing.T) {
	in := func(partitions ...int) []Target {
		ts := targets(len(partitions))
		for i, p := range partitions {
			ts[i].Partition = p
		}
		return ts
	}
	s := &fleet.RolloutStrategy{
		MaxUnavailable: share("50%"), AutoPartitionThreshold: count(1),
		Partitions: []fleet.Partition{{Name: "canary", MaxUnavailable: amount(0)}, {}, {Name: "prod"}},
	}
	tests := []struct {
		name    string
		targets []Target
		want    []string
	}{
		{"all match", in(0, 2, 2, 2, 2), []string{"canary 1/0", "Partition 2 0/1", "prod 4/2"}},
		{"who matches none comes last", in(2, -1, 0, 1, -1, -1), []string{"canary 1/0", "Partition 2 1/1", "prod 1/1", "Unmatched 3/1"}},
		{"so does who matches one that is not there", in(0, 7), []string{"canary 1/0", "Partition 2 0/1", "prod 0/1", "Unmatched 1/1"}},
		{"no targets", nil, []string{"canary 0/0", "Partition 2 0/1", "prod 0/1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range Next(World{Bundle: strategically(s), Targets: tt.targets}).Partitions {
				got = append(got, fmt.Sprintf("%s %d/%d", p.Name, p.Count, p.MaxUnavailable))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestMaxNew(t *testing.T) {
	running := func(change ...func(*fleet.Cluster)) []Target {
		ts := targets(100)
		for i := range ts {
			announced(ts[i].Cluster)
			for _, f := range change {
				f(ts[i].Cluster)
			}
		}
		return ts
	}
	tests := []struct {
		name    string
		maxNew  *int
		targets []Target
		want    int
	}{
		{"10 of 100", count(10), running(), 10},
		{"200 for 20", count(200), running()[:20], 20},
		{"none", count(0), running(), 0},
		{"less than none", count(-1), running(), 0},
		{"by default 50", nil, running(), 50},
		{"clusters without an agent are not limited", count(10), targets(100), 100},
		{"but none is none", count(0), targets(100), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := Next(World{Bundle: strategically(&fleet.RolloutStrategy{MaxNew: tt.maxNew}), Targets: tt.targets})
			if plan.NewlyCreated != tt.want || len(plan.Create) != tt.want {
				t.Errorf("creates %d, says %d, want %d", len(plan.Create), plan.NewlyCreated, tt.want)
			}
			for _, s := range plan.Hold {
				if s.Reason != ReasonMaxNew || s.Message == "" {
					t.Fatalf("held for %q: %q", s.Reason, s.Message)
				}
			}
		})
	}
}

func TestUnreadableStrategyHoldsWhatIsNew(t *testing.T) {
	unreadable := map[string]*fleet.RolloutStrategy{
		"maxUnavailable":               {MaxUnavailable: share("many")},
		"maxUnavailablePartitions":     {MaxUnavailablePartitions: share("many")},
		"partitions[0].maxUnavailable": {MaxUnavailable: amount(1), Partitions: []fleet.Partition{{MaxUnavailable: share("many")}}},
	}
	for field, s := range unreadable {
		t.Run(field, func(t *testing.T) {
			old := target(cluster("old", announced), deployed(web()), newer)
			labelled := target(cluster("labelled"), deployed(web()))
			b := strategically(s)
			b.Labels["team"] = "a"
			plan := Next(World{Bundle: b, Targets: []Target{labelled, target(cluster("new")), old}})
			if got, want := told(plan), []string{"hold new: InvalidStrategy", "hold old: InvalidStrategy", "update labelled: Settings"}; !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if want := "spec.rolloutStrategy." + field + `: "many" is neither a number nor a percentage`; plan.Problem != want || !strings.HasPrefix(plan.Hold[0].Message, want) {
				t.Errorf("problem is %q, held for %q", plan.Problem, plan.Hold[0].Message)
			}
		})
	}
}
