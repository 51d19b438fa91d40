package agent

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestHubThatWasSetBackIsNoticed(t *testing.T) {
	for _, test := range []struct {
		name          string
		seen, present string
		// fails is how many answers are errors.
		fails int
		want  error
	}{
		{name: "nothing has happened", seen: "900", present: "900"},
		{name: "something has happened", seen: "900", present: "1000"},
		{name: "it is behind", seen: "1000", present: "900", want: errSetBack},
		{name: "it is behind, but does not say so at once", seen: "1000", present: "900", fails: 3, want: errSetBack},
		{name: "nothing was seen of it yet", present: "900"},
		{name: "it counts in another way", seen: "1000", present: "x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked := 0
			p := progress{
				seen: func() string { return test.seen },
				present: func(context.Context) (string, error) {
					asked++
					if asked <= test.fails {
						return "", errors.New("forbidden")
					}
					if asked == test.fails+2 {
						cancel() // it was content the first time
					}
					return test.present, nil
				},
				again: time.Millisecond,
			}
			back := make(chan struct{}, 2)
			back <- struct{}{}
			back <- struct{}{}
			if err := p.awaitSetBack(ctx, back); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestHubThatDoesNotAnswerIsAskedUntilTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := progress{seen: func() string { return "1" }, again: time.Hour, present: func(context.Context) (string, error) {
		cancel()
		return "", errors.New("connection refused")
	}}
	back := make(chan struct{}, 1)
	back <- struct{}{}
	if err := p.awaitSetBack(ctx, back); err != nil {
		t.Errorf("got %v", err)
	}
}
