package harness

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestPollTriesUntilItSucceeds(t *testing.T) {
	tries := 0
	err := poll(t.Context(), Patience, func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("got %v after %d tries, want success after 3", err, tries)
	}
}

func TestPollReturnsTheLastReasonBeforeTheDeadline(t *testing.T) {
	missing := errors.New("two of three are ready")
	err := poll(t.Context(), 3*pollInterval, func(ctx context.Context) error {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 3*pollInterval {
			t.Errorf("the attempt may take until %v", deadline)
		}
		return missing
	})
	if !errors.Is(err, missing) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the last error and that the time is over", err)
	}
}

func TestPollForgetsAttemptsThatTheDeadlineCutShort(t *testing.T) {
	missing := errors.New("two of three are ready")
	first := true
	err := poll(t.Context(), 3*pollInterval, func(ctx context.Context) error {
		if first {
			first = false
			return missing
		}
		<-ctx.Done()
		return errors.New("request was cancelled")
	})
	if !errors.Is(err, missing) {
		t.Errorf("got %v, want %v", err, missing)
	}
}

func TestHasCondition(t *testing.T) {
	ready := func(status metav1.ConditionStatus, generation int64) []fleet.Condition {
		return []fleet.Condition{
			{Type: "Accepted", Status: "True"},
			{Type: "Ready", Status: status, Reason: "Why", Message: "NotReady(1) [Cluster a]", ObservedGeneration: generation},
		}
	}
	tests := []struct {
		name       string
		conditions []fleet.Condition
		want       fleet.Condition
		missing    string // part of the error; empty if the object has it
	}{
		{"has it", ready("True", 2), fleet.Condition{Type: "Ready", Status: "True"}, ""},
		{"has it with reason and message", ready("True", 2), fleet.Condition{Type: "Ready", Status: "True", Reason: "Why", Message: "Cluster a"}, ""},
		{"is about no generation", ready("True", 0), fleet.Condition{Type: "Ready", Status: "True"}, ""},
		{"is about an older generation", ready("True", 1), fleet.Condition{Type: "Ready", Status: "True"}, "generation 1"},
		{"other status", ready("False", 2), fleet.Condition{Type: "Ready", Status: "True"}, "Ready=False"},
		{"other reason", ready("True", 2), fleet.Condition{Type: "Ready", Status: "True", Reason: "Because"}, `reason="Why"`},
		{"other message", ready("True", 2), fleet.Condition{Type: "Ready", Status: "True", Message: "Cluster b"}, "Cluster a"},
		{"none of the type", ready("True", 2), fleet.Condition{Type: "Stalled", Status: "True"}, "no condition Stalled"},
		{"none at all", nil, fleet.Condition{Type: "Ready", Status: "True"}, "no condition Ready"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			obj := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
			obj.Status.Conditions = tt.conditions
			err := hasCondition(obj, tt.want)
			switch {
			case tt.missing == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.missing != "" && (err == nil || !strings.Contains(err.Error(), tt.missing)):
				t.Errorf("got %v, want an error about %s", err, tt.missing)
			}
		})
	}
}

func TestCRDsAreRead(t *testing.T) {
	crds, err := readCRDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range crds {
		if crd.Spec.Group != fleet.SchemeGroupVersion.Group {
			t.Errorf("CRD %s is of group %s", crd.Name, crd.Spec.Group)
		}
	}
	if len(crds) != 14 {
		t.Errorf("got %d CRDs, want 14", len(crds))
	}
}

func TestWritesAreCountedFromTheMetricsOfTheAPIServer(t *testing.T) {
	metrics := `# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="fleet.cattle.io",resource="bundles",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 3
apiserver_request_total{code="409",component="apiserver",dry_run="",group="fleet.cattle.io",resource="bundles",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 1
apiserver_request_total{code="201",component="apiserver",dry_run="",group="fleet.cattle.io",resource="gitrepos",scope="resource",subresource="",verb="POST",version="v1alpha1"} 2
apiserver_request_total{code="200",component="apiserver",dry_run="",group="fleet.cattle.io",resource="gitrepos",scope="cluster",subresource="",verb="LIST",version="v1alpha1"} 9
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="POST",version="v1"} 7
apiserver_request_total{code="200",component="apiserver",dry_run="All",group="",resource="secrets",scope="resource",subresource="",verb="PATCH",version="v1"} 5
apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 4
apiserver_request_total{code="201",component="apiserver",dry_run="",group="authorization.k8s.io",resource="subjectaccessreviews",scope="resource",subresource="",verb="POST",version="v1"} 6
`
	got, err := parseWrites([]byte(metrics))
	if err != nil {
		t.Fatal(err)
	}
	want := Writes{"PATCH bundles/status": 4, "POST gitrepos": 2, "POST secrets": 7}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if more := got.Since(Writes{"PATCH bundles/status": 4, "POST gitrepos": 1, "POST secrets": 7}); !maps.Equal(more, Writes{"POST gitrepos": 1}) {
		t.Errorf("got %v since, want one POST", more)
	}
}
