package status

import (
	"slices"
	"strings"
)

// ranked is what heaps and tallies hold: pointers to what knows its own place.
type ranked interface {
	comparable
	// at is where the heap keeps track of it.
	at() *node
	// key orders; it is unique within a tally and stays the same while in it.
	key() string
}

// node is the place of something in the heap that holds it.
type node struct {
	pos  int32
	rank uint8
}

func (n *node) at() *node { return n }

// heap orders by key. Adding and removing cost the logarithm of its size, the
// first few cost nothing that depends on it.
type heap[M ranked] []M

func (h *heap[M]) add(m M) {
	m.at().pos = int32(len(*h))
	*h = append(*h, m)
	h.up(len(*h) - 1)
}

func (h *heap[M]) remove(m M) {
	list := *h
	i, last := int(m.at().pos), len(list)-1
	list.swap(i, last)
	var none M
	list[last] = none
	*h = list[:last]
	if i < last && !h.up(i) {
		h.down(i)
	}
	h.shrink()
}

// shrink gives memory back: what passes through one state after the other must
// not keep room in each of them.
func (h *heap[M]) shrink() {
	const small = 16
	if list := *h; cap(list) > small && len(list) < cap(list)/4 {
		*h = append(make(heap[M], 0, cap(list)/2), list...)
	}
}

func (h heap[M]) less(i, j int) bool { return h[i].key() < h[j].key() }

func (h heap[M]) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at().pos, h[j].at().pos = int32(i), int32(j)
}

// up moves an element to its place toward the root and says whether it moved.
func (h heap[M]) up(i int) bool {
	moved := false
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			break
		}
		h.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (h heap[M]) down(i int) {
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h) && h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

// first returns the first n in order. It looks at two elements for each that
// it returns.
func (h heap[M]) first(n int) []M {
	n = min(n, len(h))
	if n <= 0 {
		return nil
	}
	result := make([]M, 0, n)
	edge := append(make([]int, 0, n+1), 0)
	for len(result) < n {
		least := 0
		for i := range edge {
			if h.less(edge[i], edge[least]) {
				least = i
			}
		}
		at := edge[least]
		edge[least] = edge[len(edge)-1]
		edge = edge[:len(edge)-1]
		result = append(result, h[at])
		for _, child := range [2]int{2*at + 1, 2*at + 2} {
			if child < len(h) {
				edge = append(edge, child)
			}
		}
	}
	return result
}

// tally sorts by rank and within a rank by key.
type tally[M ranked] struct {
	ranks [ranks]heap[M]
	size  int
}

// move puts something where its rank says; rank 0 takes it out.
func (t *tally[M]) move(m M, rank uint8) {
	at := m.at()
	if at.rank == rank {
		return
	}
	if at.rank != 0 {
		t.ranks[at.rank].remove(m)
		t.size--
	}
	if at.rank = rank; rank != 0 {
		t.ranks[rank].add(m)
		t.size++
	}
}

// count returns how many have the rank.
func (t *tally[M]) count(rank int) int { return len(t.ranks[rank]) }

// worst returns the first n, those of higher ranks before the others, down to
// the lowest rank that counts.
func (t *tally[M]) worst(n, lowest int) []M {
	var result []M
	for rank := ranks - 1; rank >= lowest && len(result) < n; rank-- {
		result = append(result, t.ranks[rank].first(n-len(result))...)
	}
	return result
}

// firstOf returns the first n of several ranks, by key alone.
func (t *tally[M]) firstOf(n int, among func(rank int) bool) []M {
	var result []M
	for rank := range t.ranks {
		if among(rank) {
			result = append(result, t.ranks[rank].first(n)...)
		}
	}
	slices.SortFunc(result, func(a, b M) int { return strings.Compare(a.key(), b.key()) })
	return first(result, n)
}

// leaver is a cluster with something that is being removed.
type leaver struct {
	node
	cluster string
}

func (l *leaver) key() string { return l.cluster }

// leaving returns what a status says of those being removed.
func leaving(h heap[*leaver]) removing {
	r := removing{count: len(h)}
	for _, l := range h.first(maxNames) {
		r.first = append(r.first, l.cluster)
	}
	return r
}
