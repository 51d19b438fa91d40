package churn

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/churn/oracle"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
)

const (
	// homeClusters is enough for the brake: what more than ten clusters lose by a side effect is held.
	homeClusters = 16
	awayClusters = 4
	// agentEvery is how many clusters there are for one with an agent.
	agentEvery = 2
	// restFor is how long nothing may be written until the hub counts as settled. It is longer than the window of a status, and
	// than most back-offs; where a back-off is longer, the oracle waits for what it brings.
	restFor = 1500 * time.Millisecond
	// settleIn bounds the time that settling takes. The longest back-offs after an outage are some ten seconds.
	settleIn = 75 * time.Second
)

// churn is a hub that is churned.
type churn struct {
	*testing.T
	rng     *rand.Rand
	witness *oracle.Witness
	history *harness.History
	agents  *agents
	manager *harness.Manager
	line    *harness.Line
	// home is the workspace of most; its bundles may reach away, as far as mappings say.
	home, away string
	repos      []*repository
	restricted bool
	serial     int
	// heldAt counts the settlings at which removals of some bundle were held.
	heldAt     int
	operations map[string]int
	disrupted  map[string]int
}

func newChurn(t *testing.T, seed uint64) *churn {
	c := &churn{
		T: t, rng: rand.New(rand.NewPCG(seed, 1)), line: harness.NewLine(), operations: map[string]int{}, disrupted: map[string]int{},
		home: workspace(t, "home"), away: workspace(t, "away"),
	}
	c.witness = oracle.NewWitness(map[string]map[string]string{c.home: {"role": "home"}, c.away: {"role": "away"}})
	c.agents = newAgents(c.witness, seed)
	c.witness.Heard = c.agents.heard
	c.history = env.History(t, c.witness.Hear)
	c.agents.run(t)
	c.manager = env.StartManager(t, func(config *manager.Config) { config.Hub = c.line.Through(config.Hub) })
	for i := range homeClusters {
		c.makeCluster(c.home, i)
	}
	for i := range awayClusters {
		c.makeCluster(c.away, i)
	}
	for i := range 3 {
		c.makeGroup(groupNames()[i])
	}
	for range 3 {
		c.makeBundle()
	}
	c.repos = []*repository{newRepository(c, "shop"), newRepository(c, "infra")}
	c.makeGitRepo()
	return c
}

// workspace makes a namespace with a label that mappings select by.
func workspace(t *testing.T, role string) string {
	t.Helper()
	ws := env.Workspace(t)
	env.Namespaces.Edit(t, kube.Key{Name: ws}, func(n *corev1.Namespace) { n.Labels["role"] = role })
	return ws
}

func TestRandomChurn(t *testing.T) {
	seed, began := seeded(), time.Now()
	t.Logf("seed %d: go test ./integrationtests/churn -churn.seed=%d -churn.duration=%s", seed, seed, lasting())
	c := newChurn(t, seed)
	c.settle("the beginning")
	for round := 0; time.Since(began) < lasting() && !t.Failed(); round++ {
		c.round(round)
	}
	if !t.Failed() {
		c.leaveNothing()
	}
	total := 0
	for _, n := range c.operations {
		total += n
	}
	t.Logf("seed %d: %d operations %v, disruptions %v, in %s; removals were held at %d settlings; the witness saw %+v",
		seed, total, c.operations, c.disrupted, time.Since(began).Round(time.Second), c.heldAt, c.witness.Counts())
}

// burstsPerRound is how often a round is disrupted.
const burstsPerRound = 3

// round is some operations, after which everything settles. Every other round is calm: nothing is in the way of one operation or two at
// a time, so that an event that wakes nobody shows. The others are long, and a part of each of their bursts falls into a disruption.
func (c *churn) round(number int) {
	const steps = 8
	var disrupted []string
	if number%2 == 0 {
		for range steps {
			for range 1 + c.rng.IntN(2) {
				c.operate()
			}
			c.await(fmt.Sprintf("a step of round %d", number), func(context.Context) bool { return true })
		}
		c.settle(fmt.Sprintf("round %d", number))
		return
	}
	for i := range burstsPerRound {
		disruption := c.disruptions()[(number/2*burstsPerRound+i)%len(c.disruptions())]
		disrupted = append(disrupted, disruption.name)
		c.burst(disruption)
	}
	c.probe()
	c.settle(fmt.Sprintf("round %d (%s)", number, strings.Join(disrupted, ", ")))
}

func (c *churn) burst(d disruption) {
	length := 10 + c.rng.IntN(25)
	begin, end := c.rng.IntN(length), c.rng.IntN(length)
	if begin > end {
		begin, end = end, begin
	}
	c.disrupted[d.name]++
	for i := range length {
		if i == begin {
			d.begin()
		}
		c.operate()
		if i == end {
			d.end()
		}
	}
}

// operate does one thing at random.
func (c *churn) operate() {
	all := c.operationsByWeight()
	total := 0
	for _, o := range all {
		total += o.weight
	}
	at := c.rng.IntN(total)
	for _, o := range all {
		if at -= o.weight; at < 0 {
			c.operations[o.name]++
			o.do()
			return
		}
	}
}

// settle waits until nothing is written any more and the oracle finds nothing wrong.
func (c *churn) settle(when string) {
	c.Helper()
	began := time.Now()
	c.await(when, c.rests)
	if c.witness.Held() > 0 {
		c.heldAt++
	}
	c.Logf("%s settled in %s", when, time.Since(began).Round(100*time.Millisecond))
}

// await waits until the oracle finds nothing wrong and over agrees.
func (c *churn) await(when string, over func(context.Context) bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), settleIn)
	defer cancel()
	var wrong []string
	for c.history.AwaitStill(ctx, restFor/3) {
		moved := c.history.Moved()
		if wrong = c.witness.Settled(c.facts()); len(wrong) == 0 {
			if over(ctx) {
				break
			}
			continue
		}
		// What the hub does not say, such as a commit, may be wrong without a write to come.
		within(ctx, restFor, moved)
	}
	c.report(ctx, when, wrong)
}

// rests says whether nobody writes for a while, by the store's account and by that of the API server, who knows of writes that
// change nothing or are refused, too.
func (c *churn) rests(ctx context.Context) bool {
	before := env.Writes(c)
	if !c.history.AwaitStill(ctx, restFor) {
		return false
	}
	return !within(ctx, restFor, c.history.Moved()) && ctx.Err() == nil && maps.Equal(before, env.Writes(c))
}

// within says whether the channel is closed within the time, and before ctx ends.
func within(ctx context.Context, d time.Duration, closed <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	select {
	case <-ctx.Done():
		return false
	case <-closed:
		return true
	}
}

func (c *churn) report(ctx context.Context, when string, wrong []string) {
	c.Helper()
	if err := c.history.Err(); err != nil {
		c.Fatal(err)
	}
	if len(wrong) > 0 {
		c.Errorf("%s: %d things are wrong:\n  %s", when, len(wrong), strings.Join(first(wrong, 20), "\n  "))
	} else if ctx.Err() != nil {
		before := env.Writes(c)
		within(c.Context(), time.Minute, c.history.Moved())
		c.Errorf("%s: the hub does not come to rest: %v", when, env.Writes(c).Since(before))
	}
	if offences := c.witness.Offences(); len(offences) > 0 {
		c.Errorf("%s: %d deletions should not have been:\n  %s", when, len(offences), strings.Join(first(offences, 20), "\n  "))
	}
	if c.Failed() {
		c.FailNow()
	}
}

func first[T any](all []T, n int) []T { return all[:min(len(all), n)] }

// facts are what the hub does not say.
func (c *churn) facts() oracle.Facts {
	f := oracle.Facts{Offline: c.agents.offline(), Invalid: invalid, Restricted: map[string]bool{c.home: c.restricted}, Repositories: map[string]oracle.Head{}}
	for _, r := range c.repos {
		f.Repositories[r.git.URL] = oracle.Head{Commit: r.commit, Folders: r.folders()}
	}
	return f
}

// probe shows that nothing that is wrong with others delays a bundle: it is on every cluster soon.
func (c *churn) probe() {
	c.Helper()
	const soon = 15 * time.Second
	began := time.Now()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: c.home, Name: c.name("probe")}}
	b.Spec.Resources = resources(b.Name)
	b.Spec.Targets = []fleet.BundleTarget{{ClusterSelector: &metav1.LabelSelector{}}}
	key := harness.KeyOf(env.Bundles.Make(c, b))
	ctx, cancel := context.WithTimeout(c.Context(), soon)
	defer cancel()
	var missing []string
	for ctx.Err() == nil {
		moved := c.history.Moved()
		if missing = c.witness.Missing(key); len(missing) == 0 {
			break
		}
		within(ctx, soon, moved)
	}
	if len(missing) > 0 {
		c.Fatalf("after %s a bundle for all clusters is not on %q", time.Since(began), missing)
	}
	env.Bundles.Remove(c, key)
}

// leaveNothing deletes everything and looks that nothing is left.
func (c *churn) leaveNothing() {
	c.Helper()
	for key := range c.agents.offline() {
		c.agents.leave(key, false)
	}
	if c.restricted {
		c.restrict()
	}
	c.eachOf(func(w *oracle.World) []kube.Key { return keys(w.GitRepos) }, func(key kube.Key) { env.GitRepos.Remove(c, key) })
	c.settle("without GitRepos")
	c.eachOf(func(w *oracle.World) []kube.Key { return keys(w.Bundles) }, func(key kube.Key) { env.Bundles.Remove(c, key) })
	c.settle("without bundles")
	c.witness.Look(func(w *oracle.World) {
		if len(w.Bundles) > 0 || len(w.Deployments) > 0 {
			c.Errorf("in the end %d bundles and %d deployments are left", len(w.Bundles), len(w.Deployments))
		}
	})
}

func (c *churn) eachOf(all func(*oracle.World) []kube.Key, do func(kube.Key)) {
	var found []kube.Key
	c.witness.Look(func(w *oracle.World) { found = all(w) })
	for _, key := range found {
		do(key)
	}
}
