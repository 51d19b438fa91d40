package ownership

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func deploymentObject(bundle, cluster, content string, leaving bool) Object {
	return Object{
		ID: IDOf(KindDeployment, "cluster-"+cluster, bundle), Leaving: leaving,
		Refs: []ID{IDOf(KindBundle, "ws", bundle), IDOf(KindCluster, "ws", cluster), IDOf(KindContent, "", content)},
	}
}

func bundleObject(name, repo string, leaving bool) Object {
	o := Object{ID: IDOf(KindBundle, "ws", name), Leaving: leaving, Refs: []ID{IDOf(KindNamespace, "", "ws")}}
	if repo != "" {
		o.Refs = append(o.Refs, IDOf(KindGitRepo, "ws", repo))
	}
	return o
}

func clusterObject(name string, leaving bool) Object {
	return Object{ID: IDOf(KindCluster, "ws", name), Leaving: leaving, Refs: []ID{IDOf(KindNamespace, "", "ws")}}
}

func TestGraphKnowsWhatAChangeTouches(t *testing.T) {
	g := NewGraph()
	g.Put(Object{ID: IDOf(KindNamespace, "", "ws")})
	g.Put(Object{ID: IDOf(KindGitRepo, "ws", "shop"), Refs: []ID{IDOf(KindNamespace, "", "ws")}})
	g.Put(bundleObject("web", "shop", false))
	g.Put(bundleObject("api", "", false))
	for _, cluster := range []string{"one", "two"} {
		g.Put(clusterObject(cluster, false))
		for _, bundle := range []string{"web", "api"} {
			g.Put(deploymentObject(bundle, cluster, "s-1", false))
		}
	}
	tests := []struct {
		name string
		of   ID
		want []string
	}{
		{"a deployment is itself", IDOf(KindDeployment, "cluster-one", "web"), []string{"cluster-one/web"}},
		{"a bundle has those of every cluster", IDOf(KindBundle, "ws", "web"), []string{"cluster-one/web", "cluster-two/web"}},
		{"a cluster has those of every bundle", IDOf(KindCluster, "ws", "two"), []string{"cluster-two/api", "cluster-two/web"}},
		{"a GitRepo has those of its bundles", IDOf(KindGitRepo, "ws", "shop"), []string{"cluster-one/web", "cluster-two/web"}},
		{"a content has its users", IDOf(KindContent, "", "s-1"), []string{"cluster-one/api", "cluster-one/web", "cluster-two/api", "cluster-two/web"}},
		{"a workspace has all", IDOf(KindNamespace, "", "ws"), []string{"cluster-one/api", "cluster-one/web", "cluster-two/api", "cluster-two/web"}},
		{"what nobody knows has none", IDOf(KindBundle, "ws", "nobody"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := map[string]bool{}
			for id := range g.Deployments(tt.of) {
				found[id.Namespace()+"/"+id.Name()] = true
			}
			if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGraphStates(t *testing.T) {
	g := NewGraph()
	web, cluster := IDOf(KindBundle, "ws", "web"), IDOf(KindCluster, "ws", "one")
	state := func(id ID, want State) {
		t.Helper()
		if got := g.State(id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
		for _, kind := range Kinds() {
			leaving := 0
			for _, s := range g.Nodes(kind) {
				if s == Leaving {
					leaving++
				}
			}
			if got := g.Leaving(kind); got != leaving {
				t.Errorf("%d of %s count as leaving, %d are", got, kind, leaving)
			}
		}
	}
	g.Put(deploymentObject("web", "one", "s-1", false))
	state(web, Absent)
	g.Put(bundleObject("web", "", false))
	state(web, Present)
	if got := g.Unmarked(web); got != 1 {
		t.Errorf("%d unmarked, want 1", got)
	}
	g.Put(Object{ID: IDOf(KindSecret, "ws", "web"), Refs: []ID{web}})
	if got := g.Unmarked(web); got != 1 {
		t.Errorf("%d unmarked: a Secret keeps no bundle waiting", got)
	}
	g.Put(bundleObject("web", "", true))
	state(web, Leaving)
	g.Put(deploymentObject("web", "one", "s-1", true))
	if got := g.Unmarked(web); got != 0 {
		t.Errorf("%d unmarked, want 0", got)
	}
	// Gone without a word of ours proves nothing.
	g.Drop(web)
	state(web, Absent)
	g.Put(clusterObject("one", true))
	g.Release(cluster)
	state(cluster, Leaving)
	g.Drop(cluster)
	state(cluster, Released)
	g.Put(clusterObject("one", false))
	state(cluster, Present)
	g.Drop(cluster)
	state(cluster, Absent)
	g.Release(IDOf(KindCluster, "ws", "two"))
	state(IDOf(KindCluster, "ws", "two"), Absent)
}

func TestGraphForgets(t *testing.T) {
	g := NewGraph()
	g.Put(clusterObject("one", false))
	g.Put(bundleObject("web", "shop", false))
	g.Put(deploymentObject("web", "one", "s-1", false))
	for _, id := range []ID{IDOf(KindBundle, "ws", "web"), IDOf(KindCluster, "ws", "one"), IDOf(KindDeployment, "cluster-one", "web")} {
		g.Drop(id)
	}
	if g.Len() != 0 {
		views, _ := g.Page(Query{Kinds: Kinds(), Limit: 10})
		t.Errorf("of nothing it remembers %+v", views)
	}
	for i := range 2 * maxReleased {
		o := clusterObject(fmt.Sprint("c", i), true)
		g.Put(o)
		g.Release(o.ID)
		g.Drop(o.ID)
	}
	if g.Len() > maxReleased {
		t.Errorf("it remembers %d clusters that were let go, more than %d", g.Len(), maxReleased)
	}
	if got := g.State(IDOf(KindCluster, "ws", fmt.Sprint("c", 2*maxReleased-1))); got != Released {
		t.Errorf("the last one is %s", got)
	}
}

func TestPages(t *testing.T) {
	g := NewGraph()
	var want []ID
	for i := range 25 {
		o := clusterObject(fmt.Sprintf("c%02d", i), i%5 == 0)
		g.Put(o)
		want = append(want, o.ID)
	}
	var got []ID
	q := Query{Kinds: []Kind{KindCluster}, Namespace: "ws", Limit: 10}
	for pages := 0; ; pages++ {
		views, more := g.Page(q)
		for _, v := range views {
			got = append(got, v.ID)
		}
		if !more {
			if pages != 2 {
				t.Errorf("%d pages, want 3", pages+1)
			}
			break
		}
		q.After = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if views, _ := g.Page(Query{Kinds: Kinds(), State: Leaving, ByState: true, Limit: 100}); len(views) != 5 {
		t.Errorf("%d leaving, want 5", len(views))
	}
}

// hub is what a watch looks at: objects by ID.
type hub map[ID]Object

// watched follows a hub by events, some of which never come: a later list makes
// up for them.
type watched struct {
	graph *Graph
	seen  hub
}

func (w *watched) event(id ID, now hub) {
	o, there := now[id]
	_, known := w.seen[id]
	switch {
	case there:
		w.graph.Put(o)
		w.seen[id] = o
	case known:
		w.graph.Drop(id)
		delete(w.seen, id)
	}
}

func (w *watched) relist(now hub, r *rand.Rand) {
	ids := map[ID]bool{}
	for id := range w.seen {
		ids[id] = true
	}
	for id := range now {
		ids[id] = true
	}
	order := slices.SortedFunc(maps.Keys(ids), ID.Compare)
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, id := range order {
		w.event(id, now)
	}
}

// mutate changes one object of the hub and returns which.
func mutate(r *rand.Rand, now hub) ID {
	name := func(kind string, n int) string { return fmt.Sprint(kind, r.IntN(n)) }
	var o Object
	leaving := r.IntN(4) == 0
	switch r.IntN(8) {
	case 0:
		o = Object{ID: IDOf(KindGitRepo, "ws", name("r", 3)), Leaving: leaving, Refs: []ID{IDOf(KindNamespace, "", "ws")}}
	case 1, 2:
		o = bundleObject(name("b", 5), []string{"", "r0", "r1", "r2"}[r.IntN(4)], leaving)
	case 3:
		o = clusterObject(name("c", 5), leaving)
	case 4:
		o = Object{ID: IDOf(KindContent, "", name("s", 4))}
	case 5:
		o = Object{ID: IDOf(KindSecret, "ws", name("b", 5)), Refs: []ID{IDOf(KindBundle, "ws", name("b", 5))}}
	default:
		o = deploymentObject(name("b", 5), name("c", 5), name("s", 4), leaving)
	}
	if _, there := now[o.ID]; there && r.IntN(3) == 0 {
		delete(now, o.ID)
	} else {
		now[o.ID] = o
	}
	return o.ID
}

// However events are dropped, coalesced and reordered between objects: after
// the next list the graph is the one that a fresh start would build.
func TestGraphAfterLostEventsIsThatOfAFreshStart(t *testing.T) {
	const seeds, steps = 200, 300
	lost, total := 0, 0
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := hub{}
		w := &watched{graph: NewGraph(), seen: hub{}}
		for range steps {
			id := mutate(r, now)
			total++
			if r.IntN(3) == 0 {
				lost++
				continue
			}
			w.event(id, now)
			checkLinks(t, w.graph)
		}
		w.relist(now, r)
		checkLinks(t, w.graph)
		fresh := NewGraph()
		for _, id := range slices.SortedFunc(maps.Keys(now), ID.Compare) {
			fresh.Put(now[id])
		}
		if got, want := dump(w.graph), dump(fresh); !slices.Equal(got, want) {
			t.Fatalf("seed %d: got\n%q\nwant\n%q", seed, got, want)
		}
	}
	t.Logf("%d sequences of %d changes, %d of %d events lost", seeds, steps, lost, total)
}

func dump(g *Graph) []string {
	views, _ := g.Page(Query{Kinds: Kinds(), Limit: 1 << 20})
	var lines []string
	for _, v := range views {
		lines = append(lines, fmt.Sprintf("%s %s %d unmarked, %d dependents, refs %v", v.ID, v.State, v.Unmarked, v.Dependents, v.Refs))
	}
	return lines
}

// checkLinks fails unless both ends of every link agree, and the counts are
// those of the links.
func checkLinks(t *testing.T, g *Graph) {
	t.Helper()
	for id, n := range g.nodes {
		for i, r := range n.refs {
			if b := r.to.backs[r.at]; b.from != n || int(b.at) != i || g.nodes[r.to.id] != r.to {
				t.Fatalf("%s: link %d to %s does not come back", id, i, r.to.id)
			}
		}
		var unmarked int32
		for i, b := range n.backs {
			if r := b.from.refs[b.at]; r.to != n || int(r.at) != i {
				t.Fatalf("%s: link %d from %s does not come back", id, i, b.from.id)
			}
			unmarked += b.from.counts(b.from.state)
		}
		if unmarked != n.unmarked {
			t.Fatalf("%s counts %d unmarked, there are %d", id, n.unmarked, unmarked)
		}
		if n.state == Absent && len(n.backs) == 0 {
			t.Fatalf("%s is remembered for nothing", id)
		}
	}
}

func TestDeploymentsBelongToTheBundleThatTheyName(t *testing.T) {
	bd := &fleet.BundleDeployment{}
	bd.Labels = map[string]string{names.LabelBundleName: "web", names.LabelBundleNamespace: "ws"}
	for _, test := range []struct {
		bundle ID
		want   bool
	}{
		{IDOf(KindBundle, "ws", "web"), true},
		{IDOf(KindBundle, "other", "web"), false},
		{IDOf(KindBundle, "ws", "api"), false},
		{IDOf(KindGitRepo, "ws", "web"), false},
	} {
		if got := Belongs(bd, test.bundle); got != test.want {
			t.Errorf("to %s: %v", test.bundle, got)
		}
	}
	if Belongs(&fleet.BundleDeployment{}, IDOf(KindBundle, "", "")) {
		t.Error("one that names no bundle belongs to one")
	}
}
