package ownership

import (
	"iter"
	"slices"
)

// State is what is known of the object of a node.
type State uint8

const (
	// Absent: something refers to the object, but it is not there. That is no
	// evidence of anything.
	Absent State = iota
	// Present: it is there.
	Present
	// Leaving: it is there and marked for deletion.
	Leaving
	// Released: it is not there, and it was us who let it go, when all that
	// belonged to it was taken care of.
	Released
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Absent:
		return "Absent"
	case Present:
		return "Present"
	case Leaving:
		return "Leaving"
	case Released:
		return "Released"
	}
	return "Unknown"
}

// Object is what the graph needs to know of an object.
type Object struct {
	ID      ID
	Leaving bool
	// Refs are the owners of the object and what else it uses, each once.
	Refs []ID
}

// maxReleased is how many objects that were let go are remembered. It bounds
// memory; those of the last minutes are what counts.
const maxReleased = 4096

// Graph holds which object belongs to which. It has one writer; readers must
// be kept apart from it by the caller. The order of changes of different
// objects does not matter: an object that is referred to before it was seen is
// Absent until then.
type Graph struct {
	nodes map[ID]*node
	// leaving counts the nodes in state Leaving, by kind.
	leaving map[Kind]int
	// released are the nodes in state Released, the oldest first.
	released []ID
}

type node struct {
	id       ID
	state    State
	released bool
	// unmarked counts the dependents, but for Secrets, that are Present.
	unmarked int32
	refs     []ref
	backs    []back
}

// ref leads from a node to one that it belongs to, and back the other way.
// Each knows where the other stands, so that a link is cut without a search.
type ref struct {
	to *node
	at int32
}

type back struct {
	from *node
	at   int32
}

// NewGraph returns an empty graph.
func NewGraph() *Graph { return &Graph{nodes: map[ID]*node{}, leaving: map[Kind]int{}} }

// Put makes the object what was observed of it.
func (g *Graph) Put(o Object) {
	n := g.node(o.ID)
	n.released = n.released && o.Leaving
	if !n.refersTo(o.Refs) {
		g.unlink(n)
		for _, id := range o.Refs {
			link(n, g.node(id))
		}
	}
	state := Present
	if o.Leaving {
		state = Leaving
	}
	g.set(n, state)
}

// Release notes that an object which is leaving was let go by us.
func (g *Graph) Release(id ID) {
	if n := g.nodes[id]; n != nil && n.state == Leaving {
		n.released = true
	}
}

// Drop notes that the object is not there any more.
func (g *Graph) Drop(id ID) {
	n := g.nodes[id]
	if n == nil {
		return
	}
	g.unlink(n)
	if !n.released {
		g.set(n, Absent)
		g.sweep(n)
		return
	}
	g.set(n, Released)
	g.released = append(g.released, id)
	if len(g.released) > maxReleased {
		oldest := g.nodes[g.released[0]]
		g.released = slices.Delete(g.released, 0, 1)
		if oldest != nil && oldest.state == Released {
			oldest.state, oldest.released = Absent, false
			g.sweep(oldest)
		}
	}
}

// Len returns how many nodes there are, those that are Absent included.
func (g *Graph) Len() int { return len(g.nodes) }

// State returns the state of an object.
func (g *Graph) State(id ID) State {
	if n := g.nodes[id]; n != nil {
		return n.state
	}
	return Absent
}

// Leaving returns how many objects of a kind are leaving.
func (g *Graph) Leaving(kind Kind) int { return g.leaving[kind] }

// Unmarked returns how many objects belong to this one and are not marked for
// deletion; Secrets do not count.
func (g *Graph) Unmarked(id ID) int {
	if n := g.nodes[id]; n != nil {
		return int(n.unmarked)
	}
	return 0
}

// Used says whether anything refers to the object.
func (g *Graph) Used(id ID) bool {
	n := g.nodes[id]
	return n != nil && len(n.backs) > 0
}

// Refs returns what the object belongs to and uses.
func (g *Graph) Refs(id ID) []ID {
	n := g.nodes[id]
	if n == nil {
		return nil
	}
	ids := make([]ID, len(n.refs))
	for i, r := range n.refs {
		ids[i] = r.to.id
	}
	return ids
}

// Ref returns the object of a kind that this one belongs to, if there is one.
func (g *Graph) Ref(id ID, kind Kind) (ID, bool) {
	if n := g.nodes[id]; n != nil {
		for _, r := range n.refs {
			if r.to.id.Kind == kind {
				return r.to.id, true
			}
		}
	}
	return ID{}, false
}

// Dependents iterates over the objects of a kind that belong to this one, or
// use it.
func (g *Graph) Dependents(id ID, kind Kind) iter.Seq[ID] {
	return func(yield func(ID) bool) {
		if n := g.nodes[id]; n != nil {
			n.each(kind, yield)
		}
	}
}

// Deployments iterates over the BundleDeployments that depend on an object of
// any kind, directly or by a Bundle or Cluster that belongs to it. A
// deployment may come up twice, by its Bundle and by its Cluster.
func (g *Graph) Deployments(id ID) iter.Seq[ID] {
	return func(yield func(ID) bool) {
		n := g.nodes[id]
		switch {
		case n == nil:
		case id.Kind == KindDeployment:
			yield(id)
		default:
			n.deployments(yield)
		}
	}
}

func (n *node) deployments(yield func(ID) bool) bool {
	for _, b := range n.backs {
		switch b.from.id.Kind {
		case KindDeployment:
			if !yield(b.from.id) {
				return false
			}
		case KindBundle, KindCluster, KindGitRepo, KindHelmOp:
			if !b.from.deployments(yield) {
				return false
			}
		case KindContent, KindSecret, KindNamespace:
		}
	}
	return true
}

// Nodes iterates over the nodes of a kind, in no order.
func (g *Graph) Nodes(kind Kind) iter.Seq2[ID, State] {
	return func(yield func(ID, State) bool) {
		for id, n := range g.nodes {
			if id.Kind == kind && !yield(id, n.state) {
				return
			}
		}
	}
}

func (g *Graph) node(id ID) *node {
	n := g.nodes[id]
	if n == nil {
		n = &node{id: id}
		g.nodes[id] = n
	}
	return n
}

// sweep forgets a node that nothing is known of and nothing refers to.
func (g *Graph) sweep(n *node) {
	if n.state == Absent && len(n.backs) == 0 && len(n.refs) == 0 {
		delete(g.nodes, n.id)
	}
}

func (n *node) each(kind Kind, yield func(ID) bool) {
	for _, b := range n.backs {
		if b.from.id.Kind == kind && !yield(b.from.id) {
			return
		}
	}
}

func (n *node) refersTo(ids []ID) bool {
	return slices.EqualFunc(n.refs, ids, func(r ref, id ID) bool { return r.to.id == id })
}

// set changes the state, and the counts of those that the node belongs to.
func (g *Graph) set(n *node, state State) {
	if n.state == Leaving {
		g.leaving[n.id.Kind]--
	}
	if state == Leaving {
		g.leaving[n.id.Kind]++
	}
	change := n.counts(state) - n.counts(n.state)
	n.state = state
	if change == 0 {
		return
	}
	for _, r := range n.refs {
		r.to.unmarked += change
	}
}

func (n *node) counts(state State) int32 {
	if state == Present && n.id.Kind != KindSecret {
		return 1
	}
	return 0
}

func link(from, to *node) {
	from.refs = append(from.refs, ref{to, int32(len(to.backs))})
	to.backs = append(to.backs, back{from, int32(len(from.refs) - 1)})
	to.unmarked += from.counts(from.state)
}

// unlink cuts every link from the node. The last link of the other side takes
// the place of the one that is cut.
func (g *Graph) unlink(n *node) {
	for _, r := range n.refs {
		to := r.to
		last := len(to.backs) - 1
		moved := to.backs[last]
		to.backs[r.at] = moved
		moved.from.refs[moved.at].at = r.at
		to.backs[last] = back{}
		to.backs = to.backs[:last]
		to.unmarked -= n.counts(n.state)
		if to != n {
			g.sweep(to)
		}
	}
	n.refs = nil
}
