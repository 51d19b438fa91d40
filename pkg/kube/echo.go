package kube

import (
	"sync"
	"time"

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

// EchoWait is how long the watch may take to show what was written, before the
// status is looked at again.
const EchoWait = 50 * time.Millisecond

// Begin is called before the cache is read for a look at what the status should
// be. It says whether the echo of a write is still to come: then the cache shows
// an older status. Whoever finds that one right has to look again after
// EchoWait, since what was written meanwhile is not; the echo, when it comes, is
// taken for somebody else's event.
func (e *Echoes[S]) Begin(key Key) (behind bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, behind = e.sent[key]
	delete(e.sent, key)
	return behind
}

// LookAgain returns the wait of a look that found an older status right.
func LookAgain(behind bool) error {
	if !behind {
		return nil
	}
	return &WaitError{After: EchoWait, Reason: "the watch has not shown the last write yet"}
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
