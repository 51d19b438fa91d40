package bundles

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rancher/wrangler/v3/pkg/generic"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// store is a cache that a test fills by hand.
func store[T generic.RuntimeMetaObject]() (cache.Indexer, generic.CacheInterface[T]) {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	return indexer, generic.NewCache[T](indexer, schema.GroupResource{Resource: "things"})
}

// hub is the little of a hub that a book follows from.
type hub struct {
	c                   *controller
	r                   *rand.Rand
	groups, deployments cache.Indexer
	bundle              *fleet.Bundle
	marked              kube.Marked[part]
	version             int
	// told is what the status was told so far.
	told map[string]string
}

func newHub(seed uint64) *hub {
	h := &hub{r: rand.New(rand.NewPCG(seed, 1)), told: map[string]string{}}
	h.c = &controller{
		Deps:  Deps{Clock: clock.RealClock{}},
		books: map[kube.Key]*book{}, groupUsers: map[kube.Key]bool{}, index: targeting.NewClusters(),
	}
	h.groups, h.c.groups = store[*fleet.ClusterGroup]()
	_, h.c.restrictions = store[*fleet.GitRepoRestriction]()
	_, h.c.policies = store[*fleet.Policy]()
	h.deployments, h.c.deployments = store[*fleet.BundleDeployment]()
	_, h.c.mappings = store[*fleet.BundleNamespaceMapping]()
	_, h.c.namespaces = store[*corev1.Namespace]()
	h.forgetMarks()
	h.edit()
	return h
}

func (h *hub) forgetMarks() { h.marked = kube.Marked[part]{Parts: map[part]struct{}{}} }

func (h *hub) next() string { h.version++; return strconv.Itoa(h.version) }

// edit gives the bundle other targets.
func (h *hub) edit() {
	targets := []fleet.BundleTarget{
		{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": fmt.Sprint("e", h.r.IntN(3))}}},
		{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "e1"}}, BundleDeploymentOptions: fleet.BundleDeploymentOptions{
			Helm: &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"site": "${ .ClusterLabels.site }"}}},
		}},
		{ClusterGroup: "some"},
		{ClusterSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: "Broken"}}}},
		{ClusterName: "c7", DoNotDeploy: true},
	}
	h.r.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	generation := int64(1)
	if h.bundle != nil {
		generation = h.bundle.Generation + 1
	}
	h.bundle = &fleet.Bundle{
		ObjectMeta: metav1.ObjectMeta{Namespace: "clusters", Name: "shop", UID: "b", Generation: generation},
		Spec: fleet.BundleSpec{
			Targets:         targets[:1+h.r.IntN(len(targets))],
			RolloutStrategy: &fleet.RolloutStrategy{Partitions: []fleet.Partition{{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "e2"}}}}},
		},
	}
}

// change does something to the hub, and marks it as an event would.
func (h *hub) change() {
	name := fmt.Sprint("c", h.r.IntN(12))
	key := kube.Key{Namespace: "clusters", Name: name}
	mark := part{cluster: key}
	namespace := names.ClusterNamespace("clusters", name)
	switch h.r.IntN(8) {
	case 0, 1:
		c := clusterOf(name, map[string]string{"env": fmt.Sprint("e", h.r.IntN(3)), "site": fmt.Sprint("s", h.r.IntN(3))})
		c.Status.Namespace = namespace
		if h.r.IntN(4) == 0 {
			c.Status.Agent.LastSeen = metav1.Now()
			c.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionClusterReachable, Status: "False"}}
		}
		h.c.index.Set(c)
	case 2:
		h.c.index.Delete("clusters", name)
	case 3:
		bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "shop", UID: types.UID("u" + h.next()), ResourceVersion: h.next(),
		}}
		_ = h.deployments.Update(bd)
	case 4, 5:
		if bd, err := h.c.deployments.Get(namespace, "shop"); err == nil {
			_ = h.deployments.Delete(bd)
			mark.gone = bd.UID
		}
	case 6:
		group := &fleet.ClusterGroup{
			ObjectMeta: metav1.ObjectMeta{Namespace: "clusters", Name: "some"},
			Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"site": fmt.Sprint("s", h.r.IntN(3))}}},
		}
		if h.r.IntN(3) == 0 {
			_ = h.groups.Delete(group)
		} else {
			_ = h.groups.Update(group)
		}
		h.marked.All = h.marked.All || h.c.mayUseGroups(kube.KeyOf(h.bundle))
		return
	case 7:
		if h.r.IntN(4) == 0 {
			h.edit()
		}
		return
	}
	h.marked.Parts[mark] = struct{}{}
}

// shown is all that can be seen of a book.
func shown(b *book) map[string]string {
	all := map[string]string{}
	for i := range b.targets {
		t := &b.targets[i]
		existing := "none"
		if t.Settled {
			existing = "settled"
		} else if t.Existing != nil {
			existing = t.Existing.ResourceVersion
		}
		all[b.entries[i].id] = fmt.Sprintf("id %s, existing %s, partition %d, offline %t, cluster %p", t.DeploymentID, existing, t.Partition, t.Offline, t.Cluster)
	}
	for key, message := range b.undecided {
		all[key.String()] = "undecided: " + message
	}
	return all
}

// A book that follows marks says what one says that is written anew, and the
// status is told exactly what has changed.
func TestBookFollowsItsMarks(t *testing.T) {
	settled := 0
	for seed := range uint64(40) {
		h := newHub(seed)
		key := kube.KeyOf(h.bundle)
		for round := range 80 {
			for range h.r.IntN(4) {
				h.change()
			}
			got, err := h.c.observe(context.Background(), key, h.bundle, h.marked)
			if err != nil {
				t.Fatal(err)
			}
			h.forgetMarks()
			fresh := &controller{
				Deps: h.c.Deps, books: map[kube.Key]*book{}, groupUsers: map[kube.Key]bool{}, index: h.c.index,
				groups: h.c.groups, deployments: h.c.deployments, mappings: h.c.mappings, namespaces: h.c.namespaces,
				restrictions: h.c.restrictions, policies: h.c.policies,
			}
			want, err := fresh.observe(context.Background(), key, h.bundle, h.marked)
			if err != nil {
				t.Fatal(err)
			}
			plan := rollout.Next(rollout.World{Bundle: h.bundle, Targets: got.targets})
			settled += settle(want, got, rollout.Next(rollout.World{Bundle: h.bundle, Targets: want.targets}))
			if diff := cmp.Diff(shown(want), shown(got)); diff != "" {
				t.Fatalf("seed %d, round %d: %s", seed, round, diff)
			}
			h.tell(got, plan)
			h.write(plan)
			if diff := cmp.Diff(ids(want), h.told); diff != "" {
				t.Fatalf("seed %d, round %d: the status was told otherwise: %s", seed, round, diff)
			}
		}
	}
	if settled < 1000 {
		t.Errorf("only %d targets were ever taken to be settled", settled)
	}
}

// settle has the new book call those targets settled that the old one does, if
// its own plan finds that they are. It returns how many they are.
func settle(want, got *book, plan rollout.Plan) int {
	n := 0
	for _, at := range plan.Settled {
		if i, found := got.find(want.entries[at].cluster); found && got.targets[i].Settled {
			want.targets[at].Settled = true
			n++
		}
	}
	return n
}

// write carries out some of the plan, as the watch will tell.
func (h *hub) write(plan rollout.Plan) {
	for _, step := range append(plan.Create, plan.Update...) {
		if h.r.IntN(3) == 0 {
			continue
		}
		bd := step.Deployment.DeepCopy()
		bd.ResourceVersion = h.next()
		if bd.UID == "" {
			bd.UID = types.UID("u" + h.next())
		}
		_ = h.deployments.Update(bd)
		h.marked.Parts[part{cluster: kube.KeyOf(step.Target.Cluster)}] = struct{}{}
	}
}

// tell notes what the status is told.
func (h *hub) tell(b *book, plan rollout.Plan) {
	changed, gone := b.news(plan)
	for _, target := range changed {
		h.told[target.Cluster] = target.Fingerprint
	}
	for _, cluster := range gone {
		delete(h.told, cluster)
	}
	b.settle(plan, nil)
}

func ids(b *book) map[string]string {
	all := map[string]string{}
	for i := range b.targets {
		all[b.entries[i].id] = b.targets[i].DeploymentID
	}
	for key := range b.undecided {
		all[key.String()] = ""
	}
	return all
}

// A deployment that is let go before its agent has begun hands its releases on,
// in whatever order that becomes known.
func TestNewDeploymentContinuesTheLine(t *testing.T) {
	key := kube.Key{Namespace: "clusters", Name: "c1"}
	lines := []part{
		{cluster: key, gone: "u1", succeeds: "u1"},
		{cluster: key, gone: "u2", succeeds: "u2,u1"},
		{cluster: key, gone: "u3"},
	}
	for range 20 {
		rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		e := entry{cluster: key}
		for _, p := range lines {
			e.lose(p)
		}
		if e.succeeds != "u2,u1" {
			t.Fatalf("%v leads to %q", lines, e.succeeds)
		}
	}

	h := newHub(1)
	h.bundle.Spec.Targets = []fleet.BundleTarget{{ClusterSelector: &metav1.LabelSelector{}}}
	h.c.index.Set(clusterOf("c1", nil))
	bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: names.ClusterNamespace("clusters", "c1"), Name: "shop", UID: "u9", ResourceVersion: h.next(), DeletionTimestamp: &metav1.Time{},
	}}
	line := func() string {
		t.Helper()
		b, err := h.c.observe(context.Background(), kube.KeyOf(h.bundle), h.bundle, h.marked)
		if err != nil {
			t.Fatal(err)
		}
		h.forgetMarks()
		return b.entries[0].succeeds
	}
	_ = h.deployments.Add(bd)
	if got := line(); got != "u9" {
		t.Errorf("while it is leaving, the line is %q", got)
	}
	_ = h.deployments.Delete(bd)
	h.marked.Parts[part{cluster: key, gone: "u9"}] = struct{}{}
	if got := line(); got != "u9" {
		t.Errorf("once it is gone, the line is %q", got)
	}
	next := bd.DeepCopy()
	next.UID, next.DeletionTimestamp, next.ResourceVersion = "u10", nil, h.next()
	_ = h.deployments.Add(next)
	h.marked.Parts[part{cluster: key}] = struct{}{}
	if got := line(); got != "" {
		t.Errorf("with a new deployment there, the line is still %q", got)
	}
}
