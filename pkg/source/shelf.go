package source

import (
	"sync"
	"time"
)

// maxShelf is from how many things on those that nobody needs any more are
// cleared away.
const maxShelf = 512

// shelf keeps one thing per key. It is safe for concurrent use, and so must be
// what it keeps.
type shelf[T interface {
	// idle says whether it can be forgotten: a new one would do as well.
	idle(now time.Time) bool
}] struct {
	fresh func() T

	mu  sync.Mutex
	all map[string]T
}

func newShelf[T interface{ idle(time.Time) bool }](fresh func() T) *shelf[T] {
	return &shelf[T]{fresh: fresh, all: map[string]T{}}
}

// of returns the thing of a key, a fresh one if there is none.
func (s *shelf[T]) of(key string) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.all[key]; ok {
		return found
	}
	if len(s.all) >= maxShelf {
		now := time.Now()
		for k, old := range s.all {
			if old.idle(now) {
				delete(s.all, k)
			}
		}
	}
	made := s.fresh()
	s.all[key] = made
	return made
}
