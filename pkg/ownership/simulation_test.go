package ownership

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// The simulation runs a hub whose users edit targets, labels and annotations,
// delete and make bundles, while a collector follows by watches that lag, lose
// and coalesce events, and restarts. The collector proposes from what it has
// seen and confirms with what is, as pkg/manager/garbagecollector does.

const simWorkspace = "ws"

// simHub is what is the case.
type simHub struct {
	bundles     map[string]*fleet.Bundle
	clusters    map[string]*fleet.Cluster
	deployments map[ID]*fleet.BundleDeployment
	// uids and versions are the last that were given.
	uids, versions int
}

func (h *simHub) bundle(name string) *fleet.Bundle { return h.bundles[name] }

// matches is targeting reduced to what matters here: targets name values of
// the label env.
func simMatch(b *fleet.Bundle, c *fleet.Cluster) Match {
	for _, t := range b.Spec.Targets {
		switch {
		case t.ClusterName == "?":
			return MatchUnknown
		case t.ClusterName == c.Labels["env"]:
			return MatchYes
		}
	}
	return MatchNo
}

// simulation is a hub with a collector.
type simulation struct {
	t    *testing.T
	r    *rand.Rand
	seed uint64
	now  time.Time
	hub  *simHub

	// What the collector has seen, and what it has not been told of.
	seen    *simHub
	graph   *Graph
	news    map[Kind][]ID
	dirty   map[string]map[ID]bool
	fresh   map[ID]bool
	edited  map[string]bool
	brakes  map[string]*Brake
	held    map[string]map[ID]bool
	limits  Limits
	started bool

	// edits and gone are for the checks: whose targets nobody ever edited, and
	// what went there when.
	edits  map[string]bool
	gone   map[string][]time.Time
	deeds  map[string]int
	checks int
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	t.Helper()
	s := &simulation{
		t: t, r: rand.New(rand.NewPCG(seed, 3)), seed: seed, now: time.Unix(0, 0),
		hub:    &simHub{bundles: map[string]*fleet.Bundle{}, clusters: map[string]*fleet.Cluster{}, deployments: map[ID]*fleet.BundleDeployment{}},
		limits: Limits{Deployments: 2, Percent: 25, Window: 10 * time.Minute},
		edits:  map[string]bool{}, gone: map[string][]time.Time{}, deeds: map[string]int{},
	}
	for i := range 12 {
		name := fmt.Sprintf("c%02d", i)
		c := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: simWorkspace, Name: name, Labels: map[string]string{"env": "prod"}}}
		s.hub.clusters[name] = c
		s.tell(KindCluster, simWorkspace, name)
	}
	for _, name := range []string{"a", "b", "c"} {
		s.makeBundle(name)
	}
	s.deploy()
	s.restart()
	return s
}

func (s *simulation) makeBundle(name string) {
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: simWorkspace, Name: name, Annotations: map[string]string{}, Finalizers: []string{names.FinalizerBundle}}}
	s.hub.uids++
	b.UID = types.UID(fmt.Sprint(s.hub.uids))
	b.Spec.Targets = []fleet.BundleTarget{{ClusterName: "prod"}}
	if s.r.IntN(2) == 0 {
		b.Annotations[names.AnnotationSettledTargets] = TargetsDigest(&b.Spec)
	}
	s.hub.bundles[name] = b
	delete(s.edits, name)
	delete(s.gone, name)
	s.tell(KindBundle, simWorkspace, name)
}

// deploy makes the deployments that are missing, as the bundles controller does.
func (s *simulation) deploy() {
	for _, b := range sorted(s.hub.bundles) {
		for _, c := range sorted(s.hub.clusters) {
			id := IDOf(KindDeployment, "cluster-"+c.Name, b.Name)
			if b.DeletionTimestamp != nil || simMatch(b, c) != MatchYes || s.hub.deployments[id] != nil {
				continue
			}
			s.hub.uids++
			s.hub.deployments[id] = &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
				Namespace: id.Namespace(), Name: b.Name, UID: types.UID(fmt.Sprint(s.hub.uids)), Labels: map[string]string{
					names.LabelBundleName: b.Name, names.LabelBundleNamespace: simWorkspace,
					names.LabelCluster: c.Name, names.LabelClusterNamespace: simWorkspace,
				},
			}}
			s.tell(KindDeployment, id.Namespace(), id.Name())
		}
	}
}

// sorted returns the values in the order of their keys: one seed, one story.
func sorted[V any](m map[string]V) []V {
	var values []V
	for _, key := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[key])
	}
	return values
}

// tell is called with every change of an object.
func (s *simulation) tell(kind Kind, namespace, name string) {
	if meta := s.hub.meta(IDOf(kind, namespace, name)); meta != nil {
		s.hub.versions++
		meta.ResourceVersion = fmt.Sprint(s.hub.versions)
	}
	if s.news != nil {
		s.news[kind] = append(s.news[kind], IDOf(kind, namespace, name))
	}
}

// restart begins with what a list shows.
func (s *simulation) restart() {
	s.seen = &simHub{bundles: map[string]*fleet.Bundle{}, clusters: map[string]*fleet.Cluster{}, deployments: map[ID]*fleet.BundleDeployment{}}
	s.graph, s.news = NewGraph(), map[Kind][]ID{}
	s.dirty, s.fresh, s.edited = map[string]map[ID]bool{}, map[ID]bool{}, map[string]bool{}
	brakes := map[string]*Brake{}
	for name, brake := range s.brakes {
		// The condition on the bundle tells that the brake was on.
		if brake.Holds() {
			brakes[name] = &Brake{}
			brakes[name].Hold()
		}
	}
	// What went before does not count any more, unless the brake is on.
	s.brakes, s.held, s.gone = brakes, map[string]map[ID]bool{}, map[string][]time.Time{}
	s.started = false
	s.relist()
	for name := range s.brakes {
		s.held[name] = map[ID]bool{}
		for id := range s.graph.Dependents(IDOf(KindBundle, simWorkspace, name), KindDeployment) {
			s.held[name][id] = true
		}
	}
	s.started = true
}

// relist shows the collector everything that it was not told of.
func (s *simulation) relist() {
	ids := map[ID]bool{}
	for _, h := range []*simHub{s.hub, s.seen} {
		for name := range h.bundles {
			ids[IDOf(KindBundle, simWorkspace, name)] = true
		}
		for name := range h.clusters {
			ids[IDOf(KindCluster, simWorkspace, name)] = true
		}
		for id := range h.deployments {
			ids[id] = true
		}
	}
	order := slices.SortedFunc(maps.Keys(ids), ID.Compare)
	s.r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, id := range order {
		if !s.knows(id) {
			s.observe(id)
		}
	}
	s.news = map[Kind][]ID{}
}

// knows says whether a list would show the collector nothing new of an object:
// then it is no event.
func (s *simulation) knows(id ID) bool {
	was, is := s.seen.version(id), s.hub.version(id)
	return was == is
}

// version returns the resourceVersion of an object; empty if it is not there.
func (h *simHub) version(id ID) string {
	if o := h.meta(id); o != nil {
		return o.ResourceVersion
	}
	return ""
}

func (h *simHub) meta(id ID) *metav1.ObjectMeta {
	switch id.Kind {
	case KindBundle:
		if b := h.bundles[id.Name()]; b != nil {
			return &b.ObjectMeta
		}
	case KindCluster:
		if c := h.clusters[id.Name()]; c != nil {
			return &c.ObjectMeta
		}
	default:
		if bd := h.deployments[id]; bd != nil {
			return &bd.ObjectMeta
		}
	}
	return nil
}

// deliver tells the collector one piece of news, of any kind, in the order of
// that kind; some get lost.
func (s *simulation) deliver() {
	kinds := slices.DeleteFunc([]Kind{KindBundle, KindCluster, KindDeployment}, func(k Kind) bool { return len(s.news[k]) == 0 })
	if len(kinds) == 0 {
		return
	}
	kind := kinds[s.r.IntN(len(kinds))]
	id := s.news[kind][0]
	s.news[kind] = s.news[kind][1:]
	if s.r.IntN(20) == 0 {
		s.deeds["lost event"]++
		return
	}
	s.observe(id)
}

// observe brings the collector's picture of one object up to date, and notes
// what that may turn.
func (s *simulation) observe(id ID) {
	switch id.Kind {
	case KindBundle:
		was, is := s.seen.bundles[id.Name()], s.hub.bundles[id.Name()]
		if is == nil {
			delete(s.seen.bundles, id.Name())
			s.graph.Drop(id)
			s.forget(id.Name())
			return
		}
		switch {
		case was == nil || was.UID != is.UID:
			s.forget(is.Name)
		case TargetsDigest(&was.Spec) != TargetsDigest(&is.Spec):
			s.edited[is.Name] = true
		}
		s.seen.bundles[id.Name()] = is.DeepCopy()
		s.graph.Put(OfBundle(is))
		if was != nil && !turns(was, is) {
			return
		}
		for dependent := range s.graph.Dependents(id, KindDeployment) {
			s.touch(dependent)
		}
		s.touchBundle(is.Name)
	case KindCluster:
		if is := s.hub.clusters[id.Name()]; is != nil {
			was := s.seen.clusters[id.Name()]
			same := was != nil && maps.Equal(was.Labels, is.Labels)
			s.seen.clusters[id.Name()] = is.DeepCopy()
			s.graph.Put(OfCluster(is))
			if same {
				return
			}
			for dependent := range s.graph.Deployments(id) {
				s.touch(dependent)
			}
		}
	case KindDeployment:
		is := s.hub.deployments[id]
		if is == nil {
			delete(s.seen.deployments, id)
			s.graph.Drop(id)
			return
		}
		if s.seen.deployments[id] == nil && s.started {
			s.fresh[id] = true
		}
		s.seen.deployments[id] = is.DeepCopy()
		s.graph.Put(OfDeployment(is))
		s.touch(id)
	default:
	}
}

// forget drops what is known of a bundle: there may be another of its name.
func (s *simulation) forget(bundle string) {
	delete(s.edited, bundle)
	if s.started {
		delete(s.brakes, bundle)
		delete(s.held, bundle)
	}
}

// turns says whether what happened to a bundle can turn what is decided about
// its deployments.
func turns(was, is *fleet.Bundle) bool {
	return was.UID != is.UID || TargetsDigest(&was.Spec) != TargetsDigest(&is.Spec) || is.DeletionTimestamp != nil ||
		Holds(was.Annotations) != Holds(is.Annotations) || Releases(is.Annotations)
}

func (s *simulation) touchBundle(name string) map[ID]bool {
	if s.dirty[name] == nil {
		s.dirty[name] = map[ID]bool{}
	}
	return s.dirty[name]
}

func (s *simulation) touch(deployment ID) {
	if bundle, ok := s.graph.Ref(deployment, KindBundle); ok {
		s.touchBundle(bundle.Name())[deployment] = true
	}
}

// collect has one bundle looked at of which something was heard.
func (s *simulation) collect() {
	if len(s.dirty) == 0 {
		return
	}
	waiting := slices.Sorted(maps.Keys(s.dirty))
	name := waiting[s.r.IntN(len(waiting))]
	dirty := s.dirty[name]
	delete(s.dirty, name)
	cached := s.seen.bundle(name)
	scene := Scene{Bundle: cached, Edited: s.edited[name]}
	all := cached != nil && (!scene.Settled() || scene.ReleasedByUser())
	if all {
		for id := range s.graph.Dependents(IDOf(KindBundle, simWorkspace, name), KindDeployment) {
			dirty[id] = true
		}
	}
	proposed := Judge(scene, s.pairs(name, s.seen, dirty), simMatch)
	live := s.hub.bundle(name)
	decided := proposed
	if !proposed.Idle() {
		if live == nil {
			return
		}
		// The user may act between any two steps.
		s.perhaps()
		if live = s.hub.bundle(name); live == nil {
			return
		}
		chosen := map[ID]bool{}
		for _, list := range [][]Candidate{proposed.Delete, proposed.SideEffects, proposed.Held} {
			for _, c := range list {
				chosen[simID(c.Deployment)] = true
			}
		}
		scene = Scene{Bundle: live.DeepCopy(), Edited: s.edited[name]}
		decided = Judge(scene, s.pairs(name, s.hub, chosen), simMatch)
		if proposed.Disputes(decided) {
			s.deeds["disputed"]++
			maps.Copy(s.touchBundle(name), dirty)
		}
		for _, p := range proposed.Keep {
			delete(s.held[name], simID(p.Deployment))
		}
	}
	s.brake(name, scene, &decided)
	s.carryOut(name, scene, decided)
	same := cached != nil && live != nil && TargetsDigest(&cached.Spec) == TargetsDigest(&scene.Bundle.Spec)
	// The note on a bundle that has changed meanwhile meets a conflict.
	same = same && TargetsDigest(&live.Spec) == TargetsDigest(&scene.Bundle.Spec)
	if !same && s.hub.bundles[name] != nil {
		maps.Copy(s.touchBundle(name), dirty)
	}
	byUser := slices.ContainsFunc(decided.Held, func(c Candidate) bool { return c.HeldBy == fleet.ReasonHeldByUser })
	if all && same && live.DeletionTimestamp == nil && !byUser {
		live.Annotations[names.AnnotationSettledTargets] = TargetsDigest(&live.Spec)
		if Releases(scene.Bundle.Annotations) && !scene.HeldByUser() {
			delete(live.Annotations, names.AnnotationReleaseHeld)
		}
		delete(s.edited, name)
		s.tell(KindBundle, simWorkspace, name)
	}
}

func simID(bd *fleet.BundleDeployment) ID { return IDOf(KindDeployment, bd.Namespace, bd.Name) }

// pairs are the deployments as the collector has seen them, with clusters from
// the given hub.
func (s *simulation) pairs(bundle string, from *simHub, ids map[ID]bool) []Pair {
	brake := s.brakes[bundle]
	var pairs []Pair
	for _, id := range slices.SortedFunc(maps.Keys(ids), ID.Compare) {
		if bd := s.seen.deployments[id]; bd != nil {
			pairs = append(pairs, Pair{
				Deployment: bd, Cluster: from.clusters[bd.Labels[names.LabelCluster]], Fresh: s.fresh[id],
				Held: brake != nil && brake.Holds() && s.held[bundle][id],
			})
		}
	}
	return pairs
}

func (s *simulation) brake(name string, scene Scene, j *Judgement) {
	brake := s.brakes[name]
	if brake == nil {
		brake = &Brake{}
		s.brakes[name] = brake
	}
	if scene.ReleasedByUser() && !scene.HeldByUser() {
		brake.Release()
		s.gone[name] = nil
	}
	allowed := brake.Allow(s.now, s.limits, len(j.SideEffects), s.graph.Unmarked(IDOf(KindBundle, simWorkspace, name)))
	j.Delete = append(j.Delete, j.SideEffects[:allowed]...)
	for _, c := range j.SideEffects[allowed:] {
		c.HeldBy = fleet.ReasonSideEffects
		j.Held = append(j.Held, c)
	}
	held := s.held[name]
	if held == nil {
		held = map[ID]bool{}
		s.held[name] = held
	}
	for _, p := range slices.Concat(j.Keep, j.Orphans) {
		delete(held, simID(p.Deployment))
		delete(s.fresh, simID(p.Deployment))
	}
	for _, c := range j.Delete {
		delete(held, simID(c.Deployment))
	}
	for _, c := range j.Held {
		held[simID(c.Deployment)] = true
	}
	brake.Ease(len(held))
}

// carryOut deletes with preconditions, and checks each delete.
func (s *simulation) carryOut(name string, scene Scene, j Judgement) {
	went := 0
	for _, c := range j.Delete {
		id := simID(c.Deployment)
		live := s.hub.deployments[id]
		if live == nil || live.UID != c.Deployment.UID {
			s.deeds["refused by the precondition"]++
			continue
		}
		s.checks++
		cluster := s.hub.clusters[live.Labels[names.LabelCluster]]
		if b := s.hub.bundles[name]; b.DeletionTimestamp == nil && simMatch(b, cluster) != MatchNo {
			s.fail("deleted %s, which matches or may match", id)
		}
		if c.Reason != ReasonBundleDeleted && scene.HeldByUser() {
			s.fail("deleted %s, which a person holds", id)
		}
		delete(s.hub.deployments, id)
		s.tell(KindDeployment, id.Namespace(), id.Name())
		s.deeds[string(c.Reason)]++
		if c.SideEffect {
			went++
		}
		if c.Reason == ReasonUntargeted && !c.Fresh && !scene.ReleasedByUser() {
			s.gone[name] = append(s.gone[name], s.now)
		}
	}
	s.brakes[name].Spend(s.now, went)
	s.deeds["held"] += len(j.Held)
	// Of a bundle that nobody ever edited, no window loses more than the limits.
	if s.edits[name] {
		return
	}
	inWindow := 0
	for _, at := range s.gone[name] {
		if s.now.Sub(at) < s.limits.Window {
			inWindow++
		}
	}
	// Those that went and were made anew since count twice in what there was.
	if limit := max(s.limits.Deployments, (len(s.hub.clusters)+inWindow)*s.limits.Percent/100); inWindow > limit {
		s.fail("%d deployments of bundle %s went within a window because of side effects, more than %d", inWindow, name, limit)
	}
}

func (s *simulation) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d at %s: %s", s.seed, s.now.Sub(time.Unix(0, 0)), fmt.Sprintf(format, args...))
}

// perhaps lets the user act, or not.
func (s *simulation) perhaps() {
	if s.r.IntN(4) == 0 {
		s.user()
	}
}

// user does one thing that users do.
func (s *simulation) user() {
	name := []string{"a", "b", "c"}[s.r.IntN(3)]
	b := s.hub.bundles[name]
	env := []string{"prod", "test"}[s.r.IntN(2)]
	switch what := s.r.IntN(12); {
	case b == nil:
		s.makeBundle(name)
	case b.DeletionTimestamp != nil:
	case what < 5:
		cluster := fmt.Sprintf("c%02d", s.r.IntN(12))
		s.hub.clusters[cluster].Labels["env"] = env
		s.tell(KindCluster, simWorkspace, cluster)
	case what == 5 && name == "c":
		// Somebody's script.
		for _, c := range sorted(s.hub.clusters) {
			c.Labels["env"] = env
			s.tell(KindCluster, simWorkspace, c.Name)
		}
	case what < 8 && name != "c":
		b.Spec.Targets = []fleet.BundleTarget{{ClusterName: []string{"prod", "test", "none", "?"}[s.r.IntN(4)]}}
		s.edits[name] = true
		s.tell(KindBundle, simWorkspace, name)
	case what == 8:
		b.Annotations[names.AnnotationHold] = []string{"true", "false"}[s.r.IntN(2)]
		s.tell(KindBundle, simWorkspace, name)
	case what == 9:
		b.Annotations[names.AnnotationReleaseHeld] = "yes"
		s.tell(KindBundle, simWorkspace, name)
	case what == 10 && name == "b":
		deleted(&b.ObjectMeta)
		s.tell(KindBundle, simWorkspace, name)
	}
}

// settle lets everything be heard and done.
func (s *simulation) settle() {
	for range 5 {
		s.finish()
		s.deploy()
		s.relist()
		for len(s.dirty) > 0 {
			s.collectQuietly()
		}
	}
}

// collectQuietly is collect while no user acts.
func (s *simulation) collectQuietly() {
	r := s.r
	s.r = rand.New(quiet{})
	s.collect()
	s.r = r
}

// quiet is a source whose every choice is the last one: no user acts.
type quiet struct{}

func (quiet) Uint64() uint64 { return 1<<64 - 1 }

// finish lets a bundle go that is being deleted and has no deployments left.
func (s *simulation) finish() {
	for _, b := range sorted(s.hub.bundles) {
		name, left := b.Name, 0
		for id := range s.hub.deployments {
			if id.Name() == name {
				left++
			}
		}
		if b.DeletionTimestamp != nil && left == 0 {
			delete(s.hub.bundles, name)
			delete(s.brakes, name)
			delete(s.held, name)
			s.tell(KindBundle, simWorkspace, name)
		}
	}
}

// checkSettled says what must be the case when everything was heard and done.
func (s *simulation) checkSettled() {
	for id, bd := range s.hub.deployments {
		b, c := s.hub.bundles[id.Name()], s.hub.clusters[bd.Labels[names.LabelCluster]]
		if b == nil || b.DeletionTimestamp != nil {
			s.fail("%s is left of a bundle that was deleted", id)
		}
		if simMatch(b, c) == MatchNo && !s.held[b.Name][id] {
			s.fail("%s does not match and is not held", id)
		}
		if simMatch(b, c) == MatchYes && s.held[b.Name][id] {
			s.fail("%s matches and counts as held", id)
		}
	}
	for name, b := range s.hub.bundles {
		for _, c := range s.hub.clusters {
			if simMatch(b, c) == MatchYes && s.hub.deployments[IDOf(KindDeployment, "cluster-"+c.Name, name)] == nil {
				s.fail("bundle %s is missing on %s", name, c.Name)
			}
		}
		held := len(s.held[name]) > 0
		if !held && !(Scene{Bundle: b}).Settled() {
			s.fail("bundle %s has nothing held, and is not settled", name)
		}
		if Releases(b.Annotations) && !Holds(b.Annotations) {
			s.fail("bundle %s was released, and still says so", name)
		}
	}
}

func TestSimulation(t *testing.T) {
	seeds, steps := uint64(300), 400
	if testing.Short() {
		seeds = 60
	}
	deeds, checks := map[string]int{}, 0
	for seed := range seeds {
		s := newSimulation(t, seed)
		for range steps {
			s.now = s.now.Add(time.Duration(s.r.IntN(40)) * time.Second)
			switch s.r.IntN(10) {
			case 0, 1:
				s.user()
			case 2:
				s.deploy()
			case 3, 4:
				s.collect()
			case 5:
				s.finish()
			case 6:
				if s.r.IntN(20) == 0 {
					s.restart()
					s.deeds["restart"]++
				}
			default:
				s.deliver()
			}
		}
		s.settle()
		s.checkSettled()
		for what, n := range s.deeds {
			deeds[what] += n
		}
		checks += s.checks
	}
	var lines []string
	for _, what := range slices.Sorted(maps.Keys(deeds)) {
		lines = append(lines, fmt.Sprintf("%s %d", what, deeds[what]))
	}
	t.Logf("%d interleavings of %d steps, %d deletes checked: %s", seeds, steps, checks, strings.Join(lines, ", "))
	for _, what := range []string{"Untargeted", "BundleDeleted", "held", "restart", "lost event", "refused by the precondition", "disputed"} {
		if deeds[what] == 0 {
			t.Errorf("%s never happened: the simulation is too simple", what)
		}
	}
}
