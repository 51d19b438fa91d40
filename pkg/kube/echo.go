package kube

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
)

// Echoes tells the events of our own status writes from those of others: our
// own need no look at what the status should be. S is a status.
type Echoes[S any] struct {
	mu   sync.Mutex
	sent map[Key]S
}

// Send makes the write, of which the event is an echo. The event may come
// before the write returns.
func (e *Echoes[S]) Send(key Key, status S, write func() error) error {
	e.mu.Lock()
	if e.sent == nil {
		e.sent = map[Key]S{}
	}
	e.sent[key] = status
	e.mu.Unlock()
	err := write()
	if err != nil {
		e.mu.Lock()
		delete(e.sent, key)
		e.mu.Unlock()
	}
	return err
}

// Is says whether an event that shows the status is the echo of the latest
// write. There is one for each.
func (e *Echoes[S]) Is(key Key, status S) bool {
	e.mu.Lock()
	sent, ok := e.sent[key]
	e.mu.Unlock()
	if !ok || !equality.Semantic.DeepEqual(sent, status) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sent, key)
	return true
}
