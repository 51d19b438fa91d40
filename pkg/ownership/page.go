package ownership

import "slices"

// Query selects nodes of a graph.
type Query struct {
	// Kinds are those that are wanted.
	Kinds []Kind
	// Namespace limits it to one namespace; empty means all.
	Namespace string
	// State limits it to one state where ByState is set.
	State   State
	ByState bool
	// After is the last node of the page before; the zero ID starts.
	After ID
	// Limit is how many nodes a page holds.
	Limit int
}

// View is a node for people to read.
type View struct {
	ID       ID
	State    State
	Unmarked int
	// Refs is what the node belongs to and uses.
	Refs []ID
	// Dependents is how many nodes refer to it.
	Dependents int
}

// Page returns nodes in order, and whether there are more.
func (g *Graph) Page(q Query) (views []View, more bool) {
	var ids []ID
	for id, n := range g.nodes {
		if q.selects(id, n.state) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ID.Compare)
	if more = len(ids) > q.Limit; more {
		ids = ids[:q.Limit]
	}
	for _, id := range ids {
		n := g.nodes[id]
		views = append(views, View{ID: id, State: n.state, Unmarked: int(n.unmarked), Refs: g.Refs(id), Dependents: len(n.backs)})
	}
	return views, more
}

func (q Query) selects(id ID, state State) bool {
	return slices.Contains(q.Kinds, id.Kind) &&
		(q.Namespace == "" || id.Namespace() == q.Namespace) &&
		(!q.ByState || state == q.State) &&
		(q.After == ID{} || id.Compare(q.After) > 0)
}
