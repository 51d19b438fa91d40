package bundles

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/status"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// observe brings the bundle's book up to date: as a whole where the bundle is
// not the one that it was written for, else only what is marked.
func (c *controller) observe(ctx context.Context, key kube.Key, b *fleet.Bundle, marked kube.Marked[part]) (*book, error) {
	old := c.book(key)
	if old == nil || marked.All || !old.isFor(b) {
		return c.rewrite(ctx, b, old, marked)
	}
	old.bundle = b
	for p := range marked.Parts {
		if err := c.reviewPart(old, p); err != nil {
			return nil, err
		}
	}
	for i := range old.entries {
		if e := &old.entries[i]; e.wrote != nil && c.Clock.Since(e.since) >= unseenLimit {
			// The cache should long hold what was written.
			if err := c.review(old, e.cluster); err != nil {
				return nil, err
			}
		}
	}
	return old, nil
}

// rewrite writes the bundle's book anew, from all clusters that it can match.
func (c *controller) rewrite(ctx context.Context, b *fleet.Bundle, old *book, marked kube.Marked[part]) (*book, error) {
	key := kube.KeyOf(b)
	// Until it is known which groups count, all of them do: one may change
	// while they are being read.
	c.setUsesGroups(key, true)
	now := &book{
		uid: b.UID, generation: b.Generation, labels: b.Labels, bundle: b,
		matchers: map[string]*targeting.Matcher{}, variants: map[variantKey]*variant{},
		undecided: map[kube.Key]string{}, fresh: map[kube.Key]bool{}, gone: map[kube.Key]bool{},
	}
	known, err := c.content(old, b)
	if err != nil {
		return nil, err
	}
	now.content, now.resources = known.name, known.resources
	// The targets' values come with the bundle's, from its Secret.
	if now.full, err = c.withValues(ctx, b); err != nil {
		return nil, err
	}
	if now.rules, err = c.rules(b.Namespace); err != nil {
		return nil, err
	}
	if now.sources, err = c.readSources(ctx, key, now.full); err != nil {
		return nil, err
	}
	if now.reach, err = c.reach(now.full); err != nil {
		return nil, err
	}
	now.problems = now.reach.Problems
	for i, namespace := range now.reach.Namespaces {
		groups, err := c.groups.List(namespace, labels.Everything())
		if err != nil {
			return nil, fmt.Errorf("listing cluster groups: %w", err)
		}
		matcher := targeting.Compile(now.full.Namespace, &now.full.Spec, groups)
		now.matchers[namespace] = matcher
		if i == 0 {
			now.problems = append(now.problems, matcher.Problems()...)
		}
		if err := c.addMatches(now, old, namespace, marked); err != nil {
			return nil, err
		}
	}
	now.order()
	now.leave(old)
	c.setBook(key, now)
	c.setUsesGroups(key, now.usesGroups())
	return now, nil
}

// addMatches adds the targets in one namespace, out of order.
func (c *controller) addMatches(now, old *book, namespace string, marked kube.Marked[part]) error {
	touched := map[kube.Key][]part{}
	for p := range marked.Parts {
		touched[p.cluster] = append(touched[p.cluster], p)
	}
	for _, cluster := range c.candidates(namespace, now.matchers[namespace]) {
		cell := c.look(now, old, cluster)
		if cell.err != nil {
			return cell.err
		}
		switch cell.outcome {
		case targeting.Matched:
			parts, is := touched[cell.entry.cluster]
			if cell.target.Settled = cell.steady && !is && now.sameBeside(old); !cell.target.Settled {
				for _, p := range parts {
					cell.entry.lose(p)
				}
				cell.target.Existing = c.existing(&cell.entry, now.bundle.Name)
				now.fresh[cell.entry.cluster] = true
			}
			now.targets, now.entries = append(now.targets, cell.target), append(now.entries, cell.entry)
		case targeting.Unknown:
			if _, err := c.deployments.Get(cell.entry.namespace, now.bundle.Name); err == nil {
				now.undecided[cell.entry.cluster] = cell.message
			}
		case targeting.Unmatched, targeting.Excluded:
		}
	}
	return nil
}

// sameBeside says whether deployments get the same from the bundle as from that
// of the old book, apart from content and options.
func (b *book) sameBeside(old *book) bool {
	if b.same == nil {
		same := old != nil && maps.Equal(b.labels, old.labels) && b.bundle.Spec.Paused == old.bundle.Spec.Paused &&
			equality.Semantic.DeepEqual(b.bundle.Spec.DependsOn, old.bundle.Spec.DependsOn)
		b.same = &same
	}
	return *b.same
}

// leave notes which clusters of the old book are not in the new one.
func (b *book) leave(old *book) {
	if old == nil {
		return
	}
	for i := range old.entries {
		key := old.entries[i].cluster
		if _, is := b.find(key); !is && b.undecided[key] == "" {
			b.gone[key] = true
		}
	}
	for key := range old.undecided {
		if _, is := b.find(key); !is && b.undecided[key] == "" {
			b.gone[key] = true
		}
	}
	for key := range old.gone {
		if _, is := b.find(key); !is && b.undecided[key] == "" {
			b.gone[key] = true
		}
	}
}

// cell is one cluster as a bundle sees it.
type cell struct {
	outcome targeting.Outcome
	message string
	target  rollout.Target
	entry   entry
	// steady says that the target was settled, and that nothing of it or of its
	// cluster has changed since.
	steady bool
	err    error
}

// lose notes that the entry's deployment is gone.
func (e *entry) lose(p part) {
	if e.wrote != nil && e.wrote.UID == p.gone {
		e.wrote = nil
	}
	// Marks come in no order: a line that another continues is the older.
	if !strings.Contains(e.succeeds, p.succeeds) {
		e.succeeds = p.succeeds
	}
}

// look asks whether the bundle matches the cluster, and with what.
func (c *controller) look(b, old *book, cluster *fleet.Cluster) cell {
	matcher, ok := b.matchers[cluster.Namespace]
	if !ok {
		return cell{outcome: targeting.Unmatched}
	}
	d := matcher.Match(cluster)
	l := cell{outcome: d.Outcome, message: d.Message}
	if d.Outcome != targeting.Matched && d.Outcome != targeting.Unknown {
		return l
	}
	key := kube.KeyOf(cluster)
	var before *rollout.Target
	var was *variant
	if old != nil {
		if i, found := old.find(key); found {
			before, was, l.entry = &old.targets[i], old.entries[i].variant, old.entries[i]
		}
	}
	if l.entry.id == "" {
		l.entry = entry{cluster: key, id: key.String(), namespace: names.ClusterNamespace(key.Namespace, key.Name)}
	}
	if d.Outcome == targeting.Unknown {
		return l
	}
	if l.entry.variant, l.err = b.variant(d, cluster); l.err != nil {
		return l
	}
	l.target = rollout.Target{
		Cluster: cluster, Partition: matcher.Partition(cluster), Offline: offline(cluster),
	}
	l.entry.variant.apply(&l.target, b, before, was)
	l.steady = before != nil && was.input == l.entry.variant.input && l.entry.wrote == nil && steady(before, &l.target)
	return l
}

// steady says whether a target was settled, and is what it was.
func steady(before, now *rollout.Target) bool {
	return before.Settled && before.DeploymentID == now.DeploymentID && before.Copies == now.Copies && before.Problem == now.Problem &&
		(before.Cluster == now.Cluster || sameForTargets(before.Cluster, now.Cluster) && before.Offline == now.Offline)
}

// offline says whether the cluster's agent is overdue.
func offline(cluster *fleet.Cluster) bool {
	c := status.Get(cluster.Status.Conditions, fleet.ConditionClusterReachable)
	return rollout.AgentAnnounced(cluster) && c != nil && c.Status == "False"
}

func (c *controller) reviewPart(b *book, p part) error {
	if i, found := b.find(p.cluster); found {
		b.entries[i].lose(p)
	}
	if err := c.review(b, p.cluster); err != nil {
		return err
	}
	if i, found := b.find(p.cluster); found && b.targets[i].Existing == nil {
		// It was no target when its deployment went.
		b.entries[i].lose(p)
	}
	return nil
}

// review looks at one cluster again.
func (c *controller) review(b *book, key kube.Key) error {
	l := cell{outcome: targeting.Unmatched}
	if cluster := c.cluster(key); cluster != nil {
		if l = c.look(b, b, cluster); l.err != nil {
			return l.err
		}
	}
	_, known := b.find(key)
	if _, doubted := b.undecided[key]; doubted || b.gone[key] {
		known = true
	}
	delete(b.undecided, key)
	delete(b.gone, key)
	b.fresh[key] = true
	switch l.outcome {
	case targeting.Matched:
		l.target.Existing = c.existing(&l.entry, b.bundle.Name)
		b.put(l.target, l.entry)
		return nil
	case targeting.Unknown:
		if _, err := c.deployments.Get(l.entry.namespace, b.bundle.Name); err == nil {
			b.undecided[key] = l.message
			b.drop(key)
			return nil
		}
	case targeting.Unmatched, targeting.Excluded:
	}
	b.drop(key)
	delete(b.fresh, key)
	if known {
		b.gone[key] = true
	}
	return nil
}

// unseenLimit is after what time a deployment that was written, and that no
// watch has shown, is taken not to be there: it may have come and gone while
// the watch was down.
const unseenLimit = 30 * time.Second

// existing returns the newest known state of the entry's deployment.
func (c *controller) existing(e *entry, name string) *fleet.BundleDeployment {
	cached, err := c.deployments.Get(e.namespace, name)
	if err != nil {
		if e.wrote != nil && c.Clock.Since(e.since) >= unseenLimit {
			e.wrote = nil
		}
		return e.wrote
	}
	if e.wrote != nil && (e.wrote.UID != cached.UID || !newer(e.wrote, cached)) {
		e.wrote = nil
	}
	if e.wrote != nil {
		return e.wrote
	}
	e.succeeds = ownership.Succession(cached)
	return cached
}

// newer says whether a is a later state than b.
func newer(a, b *fleet.BundleDeployment) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}

// knownContent is what names a bundle's resources.
type knownContent struct{ name, resources string }

// content returns what names the bundle's resources. A digest of all of them
// is not taken again of the same generation.
func (c *controller) content(old *book, b *fleet.Bundle) (knownContent, error) {
	if old != nil && old.uid == b.UID && old.generation == b.Generation {
		return knownContent{old.content, old.resources}, nil
	}
	content, err := bundle.Encode(b.Spec.Resources)
	if err != nil {
		return knownContent{}, kube.Permanent(fmt.Errorf("encoding spec.resources: %w", err))
	}
	sum, err := bundle.ResourcesSHA256(b.Spec.Resources)
	if err != nil {
		return knownContent{}, kube.Permanent(fmt.Errorf("encoding spec.resources: %w", err))
	}
	return knownContent{name: content.Name, resources: sum}, nil
}

// withValues returns the bundle with the helm values that its Secret holds.
func (c *controller) withValues(ctx context.Context, b *fleet.Bundle) (*fleet.Bundle, error) {
	if b.Spec.ValuesHash == "" {
		return b, nil
	}
	secret, err := c.Hub.Secrets.Get(ctx, b.Namespace, b.Name)
	if err != nil {
		return nil, fmt.Errorf("reading the helm values of the bundle: %w", err)
	}
	if bundle.ValuesHash(secret.Data) != b.Spec.ValuesHash {
		return nil, fmt.Errorf("reading the helm values of the bundle: secret %s/%s does not hold the values that spec.valuesHash names", b.Namespace, b.Name)
	}
	full, err := bundle.InjectValues(b, secret.Data)
	if err != nil {
		return nil, kube.Permanent(fmt.Errorf("reading the helm values of the bundle: %w", err))
	}
	return full, nil
}

// reach returns the namespaces whose clusters the bundle may be deployed to.
func (c *controller) reach(b *fleet.Bundle) (targeting.Reach, error) {
	mappings, err := c.mappings.List(b.Namespace, labels.Everything())
	if err != nil {
		return targeting.Reach{}, fmt.Errorf("listing bundle namespace mappings: %w", err)
	}
	if len(mappings) == 0 {
		return targeting.ReachOf(b, nil, nil), nil
	}
	namespaces, err := c.namespaces.List("", labels.Everything())
	if err != nil {
		return targeting.Reach{}, fmt.Errorf("listing namespaces: %w", err)
	}
	return targeting.ReachOf(b, mappings, namespaces), nil
}
