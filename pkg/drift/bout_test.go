package drift

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestBoutWaitsEverLonger(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var b Bout
	var waits []time.Duration
	for range 14 {
		if due := b.Due(); due.After(now) {
			waits = append(waits, due.Sub(now))
			now = due
		} else {
			waits = append(waits, 0)
		}
		b = b.Corrected(now)
		now = now.Add(10 * time.Millisecond) // somebody changes it back
	}
	const ms = time.Millisecond
	for i, want := range []time.Duration{0, 0, 0, 2000*ms - 10*ms, 4000*ms - 10*ms, 8000*ms - 10*ms} {
		if waits[i] != want {
			t.Errorf("wait %d is %s, want %s", i, waits[i], want)
		}
	}
	if last := waits[len(waits)-1]; last != lastWait-10*ms {
		t.Errorf("the last wait is %s", last)
	}
}

func TestBoutIsOverWhenAllIsCalm(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var b Bout
	for range 3 {
		b = b.Corrected(now)
	}
	if b.Over(now.Add(calm)) || !b.Over(now.Add(calm+time.Second)) {
		t.Error("it is over too early or too late")
	}
	b = b.Corrected(now.Add(calm + time.Second))
	if b.Corrections != 1 || b.Waits != 0 {
		t.Errorf("after a calm it goes on with %+v", b)
	}
	for range 20 {
		b = b.Corrected(b.Due())
	}
	if b.Over(b.Due()) {
		t.Error("it is over when the next correction is due")
	}
}

func TestFailureWaits(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	b := Bout{}.Failed(now)
	if got := b.Due().Sub(now); got != firstWait {
		t.Errorf("the first wait is %s", got)
	}
	if got := b.Failed(b.Due()); got.Due().Sub(b.Due()) != 2*firstWait {
		t.Errorf("the second is %s", got.Due().Sub(b.Due()))
	}
}

func TestChangeNamesFieldAndManager(t *testing.T) {
	live := object(t, workload+`
spec: {replicas: 5}
`)
	var fields []any
	for _, text := range []string{
		`{manager: helm, operation: Update, time: '2026-01-01T00:00:00Z', fieldsType: FieldsV1, fieldsV1: {'f:spec': {'f:replicas': {}, 'f:template': {}}}}`,
		`{manager: scaler, operation: Update, time: '2026-01-01T00:01:00Z', fieldsType: FieldsV1, fieldsV1: {'f:spec': {'f:replicas': {}}}, subresource: scale}`,
		`{manager: other, operation: Update, time: '2026-01-01T00:02:00Z', fieldsType: FieldsV1, fieldsV1: {'f:spec': {'f:paused': {}}}}`,
		`{manager: controller, operation: Update, time: '2026-01-01T00:03:00Z', fieldsType: FieldsV1, fieldsV1: {'f:spec': {'f:replicas': {}}}, subresource: status}`,
		`{manager: ours, operation: Update, time: '2026-01-01T00:04:00Z', fieldsType: FieldsV1, fieldsV1: {'f:spec': {'f:replicas': {}}}}`,
	} {
		fields = append(fields, object(t, "kind: x\n"+`entry: `+text).Object["entry"])
	}
	if err := unstructured.SetNestedSlice(live.Object, fields, "metadata", "managedFields"); err != nil {
		t.Fatal(err)
	}
	got := ChangeOf(live, map[string]any{"spec": map[string]any{"replicas": int64(1)}}, "ours")
	if got.String() != " (.spec.replicas, by the field manager scaler)" {
		t.Errorf("got %q", got)
	}
	if got := ChangeOf(live, map[string]any{"data": nil}, "ours"); got.String() != " (.data)" {
		t.Errorf("got %q", got)
	}
	if got := ChangeOf(nil, nil, "ours"); got.String() != "" {
		t.Errorf("of an object that is not there it says %q", got)
	}
	bout := Bout{Corrections: 3, Waits: 1, Last: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	if says := bout.Says(got); !strings.Contains(says, "due at 2026-01-01T12:00:02Z") || !strings.Contains(says, "scaler") {
		t.Errorf("it says %q", says)
	}
}

func TestLocalDriftIsShownByTheDifferences(t *testing.T) {
	desired := object(t, workload+"spec: {replicas: 1, cpu: 1000m, c: [{name: a, image: x}]}")
	live := object(t, workload+"spec: {replicas: 2, cpu: '1', c: [{name: a, image: y}]}")
	got := Local(live, Compare(desired, live))
	if got == nil || got.Text != `{"spec":{"c":{"0":{"image":"x"}},"replicas":1}}` || got.Restoring != nil {
		t.Errorf("got %+v", got)
	}
	if got := Local(live, Compare(object(t, workload+"spec: {cpu: 1000m}"), live)); got != nil {
		t.Errorf("got %+v", got)
	}
}
