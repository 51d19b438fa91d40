package figures

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		samples Samples
		want    float64
	}{
		{nil, 0},
		{Samples{7}, 7},
		{Samples{9, 1, 5}, 5},
		{Samples{4, 1, 3, 2}, 2.5},
	} {
		if got := test.samples.Median(); got != test.want {
			t.Errorf("median of %v is %v", test.samples, got)
		}
	}
	unsorted := Samples{3, 1, 2}
	unsorted.Median()
	if diff := cmp.Diff(Samples{3, 1, 2}, unsorted); diff != "" {
		t.Errorf("the order of the rounds was lost: %s", diff)
	}
}

func TestAddTakesMilliseconds(t *testing.T) {
	var s Samples
	s.Add(1500 * time.Microsecond)
	if s[0] != 1.5 {
		t.Errorf("got %v", s)
	}
}

func TestRate(t *testing.T) {
	if got := Rate(3000, 2*time.Second); got != 1500 {
		t.Errorf("got %v", got)
	}
	if got := Rate(1, 0); got != 0 {
		t.Errorf("in no time: %v", got)
	}
}

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		value float64
		unit  Unit
		want  string
	}{
		{0, Number, "0"},
		{3000, Number, "3000"},
		{1.067, Number, "1.07"},
		{103.4, Milliseconds, "103 ms"},
		{9.75, Milliseconds, "9.75 ms"},
		{12.34, Seconds, "12.3 s"},
		{1452.3, PerSecond, "1452/s"},
		{60, PerMinute, "60/min"},
		{1.2345, Times, "1.23 ×"},
		{2, Times, "2.00 ×"},
		{512, Bytes, "512 B"},
		{5 << 10, Bytes, "5.0 KiB"},
		{211 << 20, Bytes, "211.0 MiB"},
		{-3 << 10, Bytes, "-3.0 KiB"},
	} {
		if got := format(test.value, test.unit); got != test.want {
			t.Errorf("%v %q is shown as %q, want %q", test.value, test.unit, got, test.want)
		}
	}
}

func example() *Report {
	r := &Report{}
	r.Fact("clusters", 300)
	r.Add(
		Measure{Name: "fan-out", Value: 1100, Unit: PerSecond, Ceiling: 1452, Target: "≥ 75 % of the ceiling"},
		Of("edit → gone", Samples{80, 103, 240}, Milliseconds),
	)
	r.Counts = []Counts{{
		Name: "writes of the hub: fan-out", Objects: 3000, Each: "deployment",
		Counts: []Count{{"POST bundledeployments", 3000}, {"PATCH bundles/status", 60}},
	}}
	return r
}

func TestTextIsAlignedAndLeavesOutEmptyColumns(t *testing.T) {
	var b strings.Builder
	if err := example().Text(&b); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"clusters: 300",
		"",
		"measure      figure    min     max  rounds  ceiling  share  target",
		"fan-out      1100/s                          1452/s   76 %  ≥ 75 % of the ceiling",
		"edit → gone  103 ms  80 ms  240 ms       3",
		"",
		"writes of the hub: fan-out  count  per deployment",
		"POST bundledeployments       3000               1",
		"PATCH bundles/status           60            0.02",
		"all                          3060            1.02",
		"",
	}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}

	b.Reset()
	bare := &Report{Measures: []Measure{{Name: "synced", Value: 2, Unit: Seconds}}}
	if err := bare.Text(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("measure  figure\nsynced      2 s\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestCountsOfNothingInParticular(t *testing.T) {
	var b strings.Builder
	r := &Report{Counts: []Counts{{Name: "requests", Counts: []Count{{"GET a", 2}}}}}
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("\nrequests  count\nGET a         2\nall           2\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJSONHoldsEveryRound(t *testing.T) {
	var b strings.Builder
	if err := example().JSON(&b); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), &got); diff != "" {
		t.Error(diff)
	}
}
