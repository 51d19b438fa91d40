package manager

import (
	"errors"
	"slices"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRewind(t *testing.T) {
	tests := []struct {
		name     string
		versions []string
		found    int
	}{
		{"nothing yet", nil, 0},
		{"the first answer", []string{"7"}, 0},
		{"time goes on", []string{"7", "7", "9", "100"}, 0},
		{"back in time", []string{"100", "99"}, 1},
		{"back in time, and on", []string{"100", "20", "30", "10"}, 1},
		{"a request that failed says nothing", []string{"100", "", "101"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := 0
			r := &rewind{found: func() { found++ }}
			for _, version := range tt.versions {
				var failed error
				if version == "" {
					failed = errors.New("unreachable")
				}
				lease, err := r.note(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}, failed)
				if !errors.Is(err, failed) || lease.ResourceVersion != version {
					t.Fatalf("the answer is not passed on: %v %v", lease, err)
				}
			}
			if found != tt.found {
				t.Errorf("found %d times in %q", found, slices.Clone(tt.versions))
			}
		})
	}
}
