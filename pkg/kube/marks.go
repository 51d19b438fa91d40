package kube

import "sync"

// Marks remembers, for every key of a Queue, which parts of it are to be
// looked at again, so that a reconcile costs what has changed and not what
// there is. Event handlers add marks and wake the key; the reconcile takes
// them, and puts them back if it fails.
type Marks[P comparable] struct {
	mu     sync.Mutex
	marked map[Key]*Marked[P]
}

// Marked is what is to be looked at again of one key.
type Marked[P comparable] struct {
	// All says that everything is, whether it is among Parts or not.
	All   bool
	Parts map[P]struct{}
}

// NewMarks returns marks of nothing.
func NewMarks[P comparable]() *Marks[P] { return &Marks[P]{marked: map[Key]*Marked[P]{}} }

// Add marks parts of key.
func (m *Marks[P]) Add(key Key, parts ...P) {
	m.mu.Lock()
	defer m.mu.Unlock()
	marked := m.of(key)
	for _, part := range parts {
		marked.Parts[part] = struct{}{}
	}
}

// AddAll marks everything of key.
func (m *Marks[P]) AddAll(key Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(key).All = true
}

// Take returns what is marked of key and marks nothing.
func (m *Marks[P]) Take(key Key) Marked[P] {
	m.mu.Lock()
	defer m.mu.Unlock()
	marked, ok := m.marked[key]
	if !ok {
		return Marked[P]{}
	}
	delete(m.marked, key)
	return *marked
}

// Restore marks again what a reconcile took and could not finish.
func (m *Marks[P]) Restore(key Key, taken Marked[P]) {
	if !taken.All && len(taken.Parts) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	marked := m.of(key)
	marked.All = marked.All || taken.All
	for part := range taken.Parts {
		marked.Parts[part] = struct{}{}
	}
}

func (m *Marks[P]) of(key Key) *Marked[P] {
	marked, ok := m.marked[key]
	if !ok {
		marked = &Marked[P]{Parts: map[P]struct{}{}}
		m.marked[key] = marked
	}
	return marked
}
