package release

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"helm.sh/helm/v3/pkg/chart"
	helmrelease "helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

// studio renders charts that take as long as the test wants.
type studio struct {
	*testing.T
	m     *Manager
	clock *announced
	// slot counts how often a rendering let others have its slot.
	slot int
}

func newStudio(t *testing.T) *studio {
	t.Helper()
	s := &studio{T: t, clock: &announced{
		FakeClock: clocktesting.NewFakeClock(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)), timers: make(chan struct{}, 16),
	}}
	log := logrus.New()
	log.SetLevel(logrus.PanicLevel)
	s.m = &Manager{clock: s.clock, log: log, renderTimeout: time.Minute}
	return s
}

// announced is a clock that tells of every timer.
type announced struct {
	*clocktesting.FakeClock
	timers chan struct{}
}

func (c *announced) NewTimer(d time.Duration) clock.Timer {
	timer := c.FakeClock.NewTimer(d)
	c.timers <- struct{}{}
	return timer
}

// result is what came of a rendering.
type result struct {
	release *helmrelease.Release
	err     error
}

// begin renders a chart beside the caller: what is sent to the first channel
// ends the template, and the second tells what came of it.
func (s *studio) begin(deploymentID string, chart *chart.Chart) (template chan string, outcome chan result) {
	client := &kubeClient{rendered: make(chan struct{}), waiting: func(wait func()) { s.slot++; wait() }}
	template, outcome = make(chan string), make(chan result, 1)
	req := &Request{Key: Key{Namespace: "web", Name: "app"}, Fingerprint: deploymentID}
	go func() {
		release, err := s.m.render(client, req, chart, func() (*helmrelease.Release, error) {
			if err := client.goOn(<-template); err != nil {
				return nil, err
			}
			return &helmrelease.Release{Name: "app"}, nil
		})
		outcome <- result{release, err}
	}()
	return template, outcome
}

// pass lets time pass once a rendering waits for it.
func (s *studio) pass(d time.Duration) {
	s.Helper()
	<-s.clock.timers
	s.clock.Step(d)
}

func TestRenderingThatIsDoneGoesOn(t *testing.T) {
	s := newStudio(t)
	template, outcome := s.begin("one", &chart.Chart{})
	template <- "a: 1\n"
	if got := <-outcome; got.err != nil || got.release == nil {
		t.Errorf("rendered is %+v", got)
	}
	if s.slot != 0 {
		t.Error("it let others have its slot")
	}
}

func TestRenderingThatTakesTooLongIsGivenUp(t *testing.T) {
	s := newStudio(t)
	template, outcome := s.begin("one", &chart.Chart{})
	s.pass(renderAlone)
	s.pass(time.Minute - renderAlone)
	if got := <-outcome; got.err == nil || !strings.Contains(got.err.Error(), "took longer than 1m0s") {
		t.Fatalf("rendered is %+v", got)
	}
	if s.slot != 1 {
		t.Errorf("it let others have its slot %d times", s.slot)
	}

	// As long as it is executing, the same chart is not rendered once more; another one is.
	s.clock.Step(time.Minute)
	_, outcome = s.begin("one", &chart.Chart{})
	if got := <-outcome; got.err == nil || !strings.Contains(got.err.Error(), "have been executing for 2m0s") {
		t.Errorf("rendered again is %+v", got)
	}
	other, outcome := s.begin("two", &chart.Chart{})
	other <- "a: 1\n"
	if got := <-outcome; got.err != nil {
		t.Errorf("another chart: %v", got.err)
	}
	// When it ends after all, nothing comes of it.
	left := s.m.renderings.of(rendered{Key{Namespace: "web", Name: "app"}, "one"})
	template <- "a: 1\n"
	<-left.over
	again, outcome := s.begin("one", &chart.Chart{})
	again <- "a: 1\n"
	if got := <-outcome; got.err != nil {
		t.Errorf("the same chart, when it is quick: %v", got.err)
	}
}

func TestRenderingThatWasGivenUpAppliesNothing(t *testing.T) {
	c := &kubeClient{rendered: make(chan struct{})}
	if !c.giveUp() {
		t.Fatal("it cannot be given up")
	}
	if err := c.goOn("a: 1\n"); !errors.Is(err, errGivenUp) {
		t.Errorf("it goes on: %v", err)
	}
	c = &kubeClient{rendered: make(chan struct{})}
	if err := c.goOn("a: 1\n"); err != nil {
		t.Fatal(err)
	}
	if c.giveUp() {
		t.Error("it is given up while it is applied")
	}
}

func TestManifestsAndRecordsHaveBounds(t *testing.T) {
	c := &kubeClient{rendered: make(chan struct{})}
	if err := c.goOn(strings.Repeat("x", maxManifest+1)); err == nil || !strings.Contains(err.Error(), "32 MiB are possible: split it") {
		t.Errorf("a manifest that is too large: %v", err)
	}
	record := &corev1.Secret{Data: map[string][]byte{"release": make([]byte, corev1.MaxSecretSize)}}
	if err := fits(record); err != nil {
		t.Errorf("the largest record: %v", err)
	}
	record.Data["release"] = append(record.Data["release"], 0)
	if err := fits(record); err == nil || !strings.Contains(err.Error(), "split the bundle") {
		t.Errorf("a record that is too large: %v", err)
	}
}
