package faults

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

// fault is what happens to the manager at some request.
type fault struct {
	name string
	// strike arms the line before the story; the channel is closed when the manager is to be killed, nil is never.
	strike func(line *harness.Line, at int) <-chan struct{}
	// steps is how many places there are for it in a story that made these requests.
	steps func(made []harness.Request) int
}

func faultKinds() []fault {
	return []fault{
		{
			"killed", (*harness.Line).CutAfter,
			func(made []harness.Request) int { return len(made) },
		},
		{
			"told nothing of a write that took effect",
			func(line *harness.Line, at int) <-chan struct{} {
				line.LoseAnswer(at + 1)
				return nil
			},
			func(made []harness.Request) int {
				writes := 0
				for _, r := range made {
					if r.IsWrite() {
						writes++
					}
				}
				return writes
			},
		},
	}
}

// places returns where in a story of so many steps a fault strikes: everywhere, or at as many places as there is time for, spread over
// the story, and not at the same places in all stories.
func places(steps, story int) []int {
	wanted := *atPlaces
	switch {
	case wanted == 0 && testing.Short():
		wanted = 1
	case wanted == 0:
		wanted = 10
	}
	if wanted >= steps {
		wanted = steps
	}
	var all []int
	for i := range wanted {
		// Stories begin at different parts of their first stretch.
		all = append(all, (i*len(stories())+story)*steps/(wanted*len(stories())))
	}
	return all
}

// The manager is killed at a request of a story, and, in another run, loses the answer to a write; with -faults.places=1000 at every
// single one. With -short each story meets one of the two. Whenever that is, things come to the same end as if nothing had happened, and nothing is deleted on the way that is to stay.
func TestManagerFailsAtEveryRequest(t *testing.T) {
	line := harness.NewLine()
	m := env.StartManager(t, through(line))
	for number, told := range stories() {
		t.Run(told.name, func(t *testing.T) {
			golden, made := told.withoutFault(t, line)
			t.Logf("%s: %d requests", told.name, len(made))
			for i, f := range faultKinds() {
				if testing.Short() && *atPlaces == 0 && (i+number)%len(faultKinds()) != 0 {
					continue // the next story meets this one
				}
				struck := 0
				for _, at := range places(f.steps(made), number) {
					t.Run(fmt.Sprintf("%s, at %d", f.name, at), func(t *testing.T) {
						if told.withFault(t, m, line, golden, func() <-chan struct{} { return f.strike(line, at) }) {
							struck++
						}
					})
				}
				t.Logf("%s: %s at %d of %d places", told.name, f.name, struck, f.steps(made))
			}
		})
	}
}

// withoutFault tells the story and returns how it ends, and the requests that it took.
func (told story) withoutFault(t *testing.T, line *harness.Line) (golden []string, made []harness.Request) {
	t.Helper()
	t.Run("without a fault", func(t *testing.T) {
		s := newScene(t)
		play := told.prepare(s)
		s.settle()
		before := line.Made()
		play()
		s.settle()
		golden, made = s.dump(), line.Requests()[before:]
	})
	if t.Failed() {
		t.FailNow()
	}
	return golden, made
}

// withFault tells the story while the line is armed, and says whether the fault came before the story was over.
func (told story) withFault(t *testing.T, m *harness.Manager, line *harness.Line, golden []string, arm func() <-chan struct{}) (struck bool) {
	s := newScene(t)
	play := told.prepare(s)
	s.settle()
	cut := arm()
	before := len(line.Requests())
	play()
	s.catchUp()
	struck = s.awaitFault(cut)
	if cut != nil {
		line.CutAfter(0)
		_ = m.Crash()
		line.Repair()
		m.Start()
	}
	s.settle()
	line.Repair()
	harness.Eventually(t, "the end is that of the story without a fault", func(ctx) error {
		s.catchUp()
		if different := differences(s.dump(), golden); len(different) > 0 {
			return errors.New("it differs:\n  " + strings.Join(different, "\n  "))
		}
		return nil
	})
	s.innocent()
	if t.Failed() {
		for _, r := range line.Requests()[before:] {
			t.Log(r)
		}
	}
	return struck || cut == nil
}

// awaitFault returns true when the line is cut, and false when the story is over before that.
func (s *scene) awaitFault(cut <-chan struct{}) (struck bool) {
	if cut == nil {
		return false
	}
	harness.Eventually(s, "the manager is killed or the story is over", func(ctx ctx) error {
		select {
		case <-cut:
			struck = true
			return nil
		default:
			return s.wrong()
		}
	})
	return struck
}
