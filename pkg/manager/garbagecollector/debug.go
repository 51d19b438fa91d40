package garbagecollector

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

// Bounds of a page of the graph.
const (
	defaultPage = 100
	maxPage     = 1000
)

// Debug serves the graph of owners, page by page, as JSON. Parameters: kind,
// namespace and state select nodes; limit bounds the page; after is the "next"
// of the page before. Contents and Secrets are left out: the name of a Content
// lets an agent read it.
type Debug struct {
	source atomic.Pointer[controller]
}

type debugNode struct {
	Kind       string   `json:"kind"`
	Namespace  string   `json:"namespace,omitempty"`
	Name       string   `json:"name,omitempty"`
	State      string   `json:"state"`
	Refs       []string `json:"refs,omitempty"`
	Dependents int      `json:"dependents"`
	Unmarked   int      `json:"unmarked"`
	// Held is why the removal of the deployment waits for a person's word.
	Held string `json:"held,omitempty"`
}

type debugPage struct {
	Nodes []debugNode `json:"nodes"`
	// Next is the value of "after" for the next page; absent on the last.
	Next string `json:"next,omitempty"`
}

// ServeHTTP answers with one page.
func (d *Debug) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source := d.source.Load()
	if source == nil {
		http.Error(w, "there is no graph: the caches are not synced, or another replica leads", http.StatusServiceUnavailable)
		return
	}
	q, problem := queryOf(r)
	if problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(source.page(q))
}

func (c *controller) page(q ownership.Query) debugPage {
	c.graphs.RLock()
	views, more := c.graph.Page(q)
	c.graphs.RUnlock()
	page := debugPage{Nodes: make([]debugNode, 0, len(views))}
	for _, v := range views {
		page.Nodes = append(page.Nodes, c.shown(v))
	}
	if more {
		page.Next = cursorOf(views[len(views)-1].ID)
	}
	return page
}

func (c *controller) shown(v ownership.View) debugNode {
	n := debugNode{
		Kind: v.ID.Kind.String(), Namespace: v.ID.Namespace(), Name: v.ID.Name(), State: v.State.String(),
		Dependents: v.Dependents, Unmarked: v.Unmarked,
	}
	for _, ref := range v.Refs {
		switch {
		case hidden(ref.Kind):
			n.Refs = append(n.Refs, ref.Kind.String())
			continue
		case ref.Kind == ownership.KindBundle && v.ID.Kind == ownership.KindDeployment:
			n.Held = c.ledgers.holdingOf(ref).held[v.ID]
		}
		n.Refs = append(n.Refs, ref.String())
	}
	return n
}

// hidden says whether a name of this kind lets somebody read what it names.
func hidden(kind ownership.Kind) bool {
	return kind == ownership.KindContent || kind == ownership.KindSecret
}

func shownKinds() []ownership.Kind { return slices.DeleteFunc(ownership.Kinds(), hidden) }

// queryOf reads the parameters, or says what is wrong with them.
func queryOf(r *http.Request) (q ownership.Query, problem string) {
	params := r.URL.Query()
	q.Namespace, q.Limit, q.Kinds = params.Get("namespace"), defaultPage, shownKinds()
	if text := params.Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 || limit > maxPage {
			return q, "limit is a number from 1 to " + strconv.Itoa(maxPage)
		}
		q.Limit = limit
	}
	if text := params.Get("kind"); text != "" {
		q.Kinds = slices.DeleteFunc(q.Kinds, func(k ownership.Kind) bool { return k.String() != text })
		if len(q.Kinds) == 0 {
			return q, "there is no such kind, or it is not shown"
		}
	}
	if text := params.Get("state"); text != "" {
		for _, state := range []ownership.State{ownership.Absent, ownership.Present, ownership.Leaving, ownership.Released} {
			if state.String() == text {
				q.State, q.ByState = state, true
			}
		}
		if !q.ByState {
			return q, "there is no such state"
		}
	}
	if text := params.Get("after"); text != "" {
		after, ok := parseCursor(text)
		if !ok {
			return q, "after is the next of the page before"
		}
		q.After = after
	}
	return q, ""
}

// cursorOf returns a text that stands for a node.
func cursorOf(id ownership.ID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{id.Kind.String(), id.Namespace(), id.Name()}, "/")))
}

func parseCursor(text string) (ownership.ID, bool) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	parts := strings.Split(string(data), "/")
	if err != nil || len(parts) != 3 {
		return ownership.ID{}, false
	}
	for _, kind := range ownership.Kinds() {
		if kind.String() == parts[0] {
			return ownership.IDOf(kind, parts[1], parts[2]), true
		}
	}
	return ownership.ID{}, false
}
