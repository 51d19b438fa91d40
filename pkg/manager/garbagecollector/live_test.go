package garbagecollector

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Many who ask at once share few reads, and nobody is given one that began
// before he asked.
func TestSharedListsAreNeverOlderThanTheQuestion(t *testing.T) {
	var version, reads atomic.Int64
	s := newSharedLists(func(context.Context, string) (map[string]*fleet.Cluster, error) {
		reads.Add(1)
		seen := version.Load()
		// Others come meanwhile.
		version.Add(1)
		return map[string]*fleet.Cluster{"c": {Status: fleet.ClusterStatus{DesiredReadyGitRepos: int(seen)}}}, nil
	})
	const asking, rounds = 16, 500
	var askers sync.WaitGroup
	for range asking {
		askers.Go(func() {
			for range rounds {
				least := version.Load()
				found, err := s.of(t.Context(), "ws")
				if err != nil {
					t.Error(err)
					return
				}
				if got := int64(found["c"].Status.DesiredReadyGitRepos); got < least {
					t.Errorf("asked at %d, was given %d", least, got)
					return
				}
			}
		})
	}
	askers.Wait()
	t.Logf("%d questions, %d reads", asking*rounds, reads.Load())
	if len(s.next)+len(s.reading) != 0 {
		t.Error("something is remembered of reads that are done")
	}
}

func TestSharedListsShare(t *testing.T) {
	var reads atomic.Int64
	began, goOn := make(chan struct{}, 2), make(chan struct{})
	s := newSharedLists(func(context.Context, string) (map[string]*fleet.Cluster, error) {
		reads.Add(1)
		began <- struct{}{}
		<-goOn
		return nil, errors.New("away")
	})
	var askers sync.WaitGroup
	ask := func() {
		if _, err := s.of(t.Context(), "ws"); err == nil {
			t.Error("the error of the read is lost")
		}
	}
	askers.Go(ask)
	<-began
	askers.Go(ask)
	for queued := false; !queued; runtime.Gosched() {
		s.mu.Lock()
		queued = s.next["ws"] != nil
		s.mu.Unlock()
	}
	// Whoever asks now joins the second: it has begun no read when it gives up.
	impatient, giveUp := context.WithCancel(t.Context())
	giveUp()
	for range 10 {
		if _, err := s.of(impatient, "ws"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	close(goOn)
	askers.Wait()
	if got := reads.Load(); got != 2 {
		t.Errorf("%d reads, want 2", got)
	}
}

func TestWhoeverGivesUpGivesUpAlone(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	s := newSharedLists(func(ctx context.Context, _ string) (map[string]*fleet.Cluster, error) {
		close(began)
		<-goOn
		return map[string]*fleet.Cluster{"c": {}}, ctx.Err()
	})
	impatient, giveUp := context.WithCancel(t.Context())
	var asker sync.WaitGroup
	asker.Go(func() { _, _ = s.of(impatient, "ws") })
	<-began
	list := s.reading["ws"]
	giveUp()
	close(goOn)
	asker.Wait()
	if <-list.done; list.err != nil || len(list.found) != 1 {
		t.Errorf("the others are given %v, %v", list.found, list.err)
	}
}
