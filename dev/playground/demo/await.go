package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// poll is how often an expectation is looked at, and so how exact the times are.
const poll = 20 * time.Millisecond

// expectation is something that must become true after a step's cause.
type expectation struct {
	what  string
	check func(context.Context) (outcome, error)
}

// outcome is what a look at the clusters gave. It is met when nothing is missing.
type outcome struct {
	// missing says what is not true yet.
	missing string
	// remark says what is worth telling once it is true.
	remark string
}

func met(format string, args ...any) (outcome, error) {
	return outcome{remark: fmt.Sprintf(format, args...)}, nil
}

func missing(format string, args ...any) (outcome, error) {
	return outcome{missing: fmt.Sprintf(format, args...)}, nil
}

// await watches all expectations at the same time, from now, the instant of the step's cause, and returns when
// all are met. Each shows how long it took. The error names all that were not met.
func (s *story) await(ctx context.Context, expectations ...expectation) error {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	errs := make([]error, len(expectations))
	var waiting sync.WaitGroup
	for i, e := range expectations {
		task := s.printer.Start(e.what)
		waiting.Go(func() {
			remark, err := e.await(ctx)
			if errs[i] = err; err != nil {
				task.Fail("")
				return
			}
			task.Done(remark)
		})
	}
	waiting.Wait()
	return errors.Join(errs...)
}

// unmet is the error of an expectation that was given up with the context.
type unmet struct {
	what, missing string
	cause         error
}

// Error says what was missing last.
func (e *unmet) Error() string {
	return fmt.Sprintf("%s: not met (%v): %s", e.what, e.cause, e.missing)
}

// Unwrap returns why it was given up.
func (e *unmet) Unwrap() error { return e.cause }

func (e expectation) await(ctx context.Context) (remark string, err error) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	last := "nothing is known"
	for {
		now, err := e.check(ctx)
		switch {
		case errors.As(err, new(*violation)):
			return "", fmt.Errorf("%s: %w", e.what, err)
		case err == nil && now.missing == "":
			return now.remark, nil
		case err == nil:
			last = now.missing
		case ctx.Err() == nil:
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return "", &unmet{e.what, last, ctx.Err()}
		case <-ticker.C:
		}
	}
}

// violation is something that must never be seen, however long one waits.
type violation struct{ message string }

// Error says what was seen.
func (v *violation) Error() string { return v.message }

func violated(format string, args ...any) (outcome, error) {
	return outcome{}, &violation{fmt.Sprintf(format, args...)}
}
