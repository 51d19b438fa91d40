package release

import (
	"slices"
	"testing"
)

func TestPrunable(t *testing.T) {
	a, b, c := object("ConfigMap", "web", "a"), object("ConfigMap", "web", "b"), object("ConfigMap", "web", "c")
	rev := func(number int, status Status, objects ...Object) revision {
		return revision{number: number, status: status, objects: objects}
	}
	for _, test := range []struct {
		name    string
		history []revision
		keep    int
		want    []int
	}{
		{name: "nothing", keep: 2},
		{name: "as many as are kept", history: []revision{rev(1, StatusSuperseded), rev(2, StatusDeployed)}, keep: 2},
		{
			name: "the oldest goes", keep: 2, want: []int{1},
			history: []revision{rev(1, StatusSuperseded, a), rev(2, StatusSuperseded, a), rev(3, StatusDeployed, a)},
		},
		{
			name: "what an upgrade that failed created is found by its record alone", keep: 2,
			history: []revision{rev(1, StatusDeployed, a), rev(2, StatusFailed, b), rev(3, StatusFailed, c), rev(4, StatusFailed, a)},
		},
		{
			name: "a failed revision goes when newer ones name all of its objects", keep: 2, want: []int{2},
			history: []revision{rev(1, StatusDeployed, a), rev(2, StatusFailed, b), rev(3, StatusFailed, b), rev(4, StatusFailed, b)},
		},
		{
			name: "an upgrade that succeeded has cleaned up", keep: 2, want: []int{2, 1},
			history: []revision{rev(1, StatusSuperseded, a), rev(2, StatusFailed, b), rev(3, StatusFailed, c), rev(4, StatusDeployed, a)},
		},
		{
			name: "the deployed one stays, however old", keep: 1, want: []int{2},
			history: []revision{rev(1, StatusDeployed, a), rev(2, StatusFailed, a), rev(3, StatusFailed, a)},
		},
		{name: "no limit", history: []revision{rev(1, StatusSuperseded), rev(2, StatusSuperseded), rev(3, StatusDeployed)}, keep: 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := prunable(test.history, test.keep); !slices.Equal(got, test.want) {
				t.Errorf("prunable are %v, want %v", got, test.want)
			}
		})
	}
}
