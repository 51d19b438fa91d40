package demo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/progress"
)

func expectAfter(what string, tries int) expectation {
	return expectation{what, func(context.Context) (outcome, error) {
		if tries--; tries > 0 {
			return missing("%d more", tries)
		}
		return met("at last")
	}}
}

func newStory(out *bytes.Buffer, deadline time.Duration) *story {
	return &story{printer: progress.New(out), deadline: deadline}
}

func TestAwaitAll(t *testing.T) {
	var out bytes.Buffer
	if err := newStory(&out, time.Minute).await(t.Context(), expectAfter("slow", 4), expectAfter("quick", 1)); err != nil {
		t.Fatal(err)
	}
	told := out.String()
	if !strings.Contains(told, "✓ slow") || !strings.Contains(told, "at last") || strings.Index(told, "quick") > strings.Index(told, "slow") {
		t.Errorf("it told:\n%s", told)
	}
}

func TestAwaitNamesAllThatIsMissing(t *testing.T) {
	var out bytes.Buffer
	err := newStory(&out, 5*poll).await(t.Context(),
		expectAfter("met", 1),
		expectation{"first", func(context.Context) (outcome, error) { return missing("it has no legs") }},
		expectation{"second", func(context.Context) (outcome, error) { return outcome{}, errors.New("connection refused") }},
	)
	for _, want := range []string{"first: not met", "it has no legs", "second: not met", "connection refused"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) || strings.Count(out.String(), "✗") != 2 {
		t.Errorf("error %v; it told:\n%s", err, out.String())
	}
}

func TestAwaitGivesUpAtOnceOverWhatMustNeverBe(t *testing.T) {
	var out bytes.Buffer
	began := time.Now()
	err := newStory(&out, time.Minute).await(t.Context(), expectation{"order", func(context.Context) (outcome, error) {
		return violated("%s before %s", "deployment", "workload")
	}})
	if err == nil || err.Error() != "order: deployment before workload" {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
