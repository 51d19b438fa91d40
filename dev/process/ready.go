package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// readyPoll is how often a program is asked whether it is ready.
const readyPoll = 25 * time.Millisecond

// AwaitReady returns when the probe says yes, by returning nil; or, with an error, as soon as the program has
// ended, or when the context ends.
func (p *Process) AwaitReady(ctx context.Context, probe func(context.Context) error) error {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		last := probe(ctx)
		if last == nil {
			return nil
		}
		if !p.Alive() {
			return errors.New("it has ended")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; its last answer: %w", ctx.Err(), last)
		case <-ticker.C:
		}
	}
}

// HTTPProbe returns a probe that says yes when the URL answers with status 200.
func HTTPProbe(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
			return fmt.Errorf("%s: %s", response.Status, body)
		}
		return nil
	}
}
