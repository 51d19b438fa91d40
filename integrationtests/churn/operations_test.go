package churn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/flotilla-gitops/flotilla/integrationtests/churn/oracle"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// operation is something that a user, an agent or an administrator does.
type operation struct {
	name   string
	weight int
	do     func()
}

func (c *churn) operationsByWeight() []operation {
	return []operation{
		{"edit targets", 12, func() {
			c.editBundle(func(b *fleet.Bundle) { b.Spec.Targets = c.targets() })
		}},
		{"edit targets and back", 2, c.flipTargets},
		{"edit restrictions", 2, func() {
			c.editBundle(func(b *fleet.Bundle) { b.Spec.TargetRestrictions = c.restrictions() })
		}},
		{"edit resources", 4, func() {
			c.editBundle(func(b *fleet.Bundle) { b.Spec.Resources = resources(c.name("content")) })
		}},
		{"pause or resume bundle", 2, func() {
			c.editBundle(func(b *fleet.Bundle) { b.Spec.Paused = !b.Spec.Paused })
		}},
		{"hold or release", 2, func() { c.editBundle(c.hold) }},
		{"make bundle", 5, c.makeBundle},
		{"delete bundle", 3, func() { c.remove(c.pickBundle(), c.removeBundle) }},
		{"relabel cluster", 12, func() {
			c.editCluster(func(k *fleet.Cluster) { k.Labels = c.labels() })
		}},
		{"relabel cluster and back", 2, c.flipLabels},
		{"relabel many clusters", 2, c.relabelMany},
		{"pause or resume cluster", 1, func() {
			c.editCluster(func(k *fleet.Cluster) { k.Spec.Paused = !k.Spec.Paused })
		}},
		{"make cluster", 3, func() { c.makeCluster(c.home, c.rng.IntN(homeClusters+2)) }},
		{"delete cluster", 2, func() { c.remove(c.pickCluster(), c.removeCluster) }},
		{"edit group", 9, c.editGroup},
		{"make group", 4, func() { c.makeGroup(pick(c, groupNames())) }},
		{"delete group", 3, func() { c.remove(c.pickGroup(), c.removeGroup) }},
		{"make mapping", 2, c.makeMapping},
		{"delete mapping", 2, c.removeMapping},
		{"make GitRepo", 2, c.makeGitRepo},
		{"edit GitRepo's targets", 4, func() {
			c.editGitRepo(func(r *fleet.GitRepo) { r.Spec.Targets = c.gitTargets() })
		}},
		{"pause or resume GitRepo", 1, func() {
			c.editGitRepo(func(r *fleet.GitRepo) { r.Spec.Paused = !r.Spec.Paused })
		}},
		{"restrict GitRepos or not", 2, c.restrict},
		{"delete GitRepo", 1, func() { c.remove(c.pickGitRepo(), c.removeGitRepo) }},
		{"push", 4, func() { pick(c, c.repos).push(c) }},
		{"agent leaves", 4, func() { c.agents.leave(c.pickInhabited(), true) }},
		{"agent returns", 6, c.agentReturns},
		{"delete deployment by hand", 2, c.deleteDeployment},
	}
}

// name returns a new name.
func (c *churn) name(prefix string) string {
	c.serial++
	return fmt.Sprintf("%s-%d", prefix, c.serial)
}

func pick[T any](c *churn, all []T) T { return all[c.rng.IntN(len(all))] }

// pickKey returns the key of some object, in an order that does not depend on how maps are walked; an empty one if there is none.
func (c *churn) pickKey(find func(*oracle.World) []kube.Key) kube.Key {
	var found []kube.Key
	c.witness.Look(func(w *oracle.World) { found = find(w) })
	if len(found) == 0 {
		return kube.Key{}
	}
	return pick(c, found)
}

// keys returns the sorted keys of what is not being deleted.
func keys[T metav1.Object](objects map[kube.Key]T) []kube.Key {
	var found []kube.Key
	for key, obj := range objects {
		if obj.GetDeletionTimestamp() == nil {
			found = append(found, key)
		}
	}
	slices.SortFunc(found, func(a, b kube.Key) int { return cmp.Compare(a.String(), b.String()) })
	return found
}

// pickBundle returns a bundle that no GitRepo made.
func (c *churn) pickBundle() kube.Key {
	return c.pickKey(func(w *oracle.World) []kube.Key {
		return slices.DeleteFunc(keys(w.Bundles), func(key kube.Key) bool { return kube.RepoOf(w.Bundles[key]).Name != "" })
	})
}

func (c *churn) pickCluster() kube.Key {
	return c.pickKey(func(w *oracle.World) []kube.Key { return keys(w.Clusters) })
}

// pickInhabited returns a cluster with an agent; if there is none, one that is not there.
func (c *churn) pickInhabited() kube.Key {
	return c.pickKey(func(w *oracle.World) []kube.Key {
		return slices.DeleteFunc(keys(w.Clusters), func(key kube.Key) bool { return w.Clusters[key].Status.Agent.LastSeen.IsZero() })
	})
}

func (c *churn) pickGroup() kube.Key {
	return c.pickKey(func(w *oracle.World) []kube.Key { return keys(w.Groups) })
}

func (c *churn) pickGitRepo() kube.Key {
	return c.pickKey(func(w *oracle.World) []kube.Key { return keys(w.GitRepos) })
}

// change edits an object, unless it has left meanwhile.
func change[T kube.Object, L runtime.Object](c *churn, kind harness.Kind[T, L], key kube.Key, edit func(T)) {
	c.Helper()
	if key.Name == "" {
		return
	}
	harness.Eventually(c, "an object is edited", func(ctx context.Context) error {
		before, err := kind.Get(ctx, key.Namespace, key.Name)
		if apierrors.IsNotFound(err) || err == nil && before.GetDeletionTimestamp() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		after := before.DeepCopyObject().(T)
		edit(after)
		if _, err = kind.Patch(ctx, before, after); apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// remove deletes an object if there is one.
func (c *churn) remove(key kube.Key, remove func(context.Context, kube.Key) error) {
	c.Helper()
	if key.Name == "" {
		return
	}
	harness.Eventually(c, "an object is deleted", func(ctx context.Context) error {
		if err := remove(ctx, key); !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
}

func discard[T kube.Object, L runtime.Object](ctx context.Context, kind harness.Kind[T, L], key kube.Key) error {
	obj, err := kind.Get(ctx, key.Namespace, key.Name)
	if err != nil {
		return err
	}
	return kind.Delete(ctx, obj)
}

func (c *churn) removeBundle(ctx context.Context, key kube.Key) error {
	return discard(ctx, env.Bundles, key)
}

func (c *churn) removeGroup(ctx context.Context, key kube.Key) error {
	return discard(ctx, env.ClusterGroups, key)
}

func (c *churn) removeGitRepo(ctx context.Context, key kube.Key) error {
	return discard(ctx, env.GitRepos, key)
}

func (c *churn) removeCluster(ctx context.Context, key kube.Key) error {
	c.agents.abandon(key)
	return discard(ctx, env.Clusters, key)
}

func (c *churn) editBundle(edit func(*fleet.Bundle)) {
	var result *fleet.Bundle
	// Decided once, however often it takes to write it: the same seed does the same.
	change(c, env.Bundles, c.pickBundle(), func(b *fleet.Bundle) {
		if result == nil {
			edit(b)
			result = b.DeepCopy()
		}
		b.Spec, b.Annotations = *result.Spec.DeepCopy(), maps.Clone(result.Annotations)
	})
}

func (c *churn) editCluster(edit func(*fleet.Cluster)) {
	var result *fleet.Cluster
	change(c, env.Clusters, c.pickCluster(), func(k *fleet.Cluster) {
		if result == nil {
			edit(k)
			result = k.DeepCopy()
		}
		k.Labels, k.Spec = maps.Clone(result.Labels), *result.Spec.DeepCopy()
	})
}

func (c *churn) editGitRepo(edit func(*fleet.GitRepo)) {
	var result *fleet.GitRepo
	change(c, env.GitRepos, c.pickGitRepo(), func(r *fleet.GitRepo) {
		if result == nil {
			edit(r)
			result = r.DeepCopy()
		}
		r.Spec = *result.Spec.DeepCopy()
	})
}

func (c *churn) editGroup() {
	selector, labels := c.selector(), c.groupLabels()
	change(c, env.ClusterGroups, c.pickGroup(), func(g *fleet.ClusterGroup) { g.Spec.Selector, g.Labels = selector, labels })
}

// flipTargets and flipLabels change something and take it back at once.
func (c *churn) flipTargets() {
	key, targets := c.pickBundle(), c.targets()
	var before []fleet.BundleTarget
	change(c, env.Bundles, key, func(b *fleet.Bundle) { before, b.Spec.Targets = b.Spec.Targets, targets })
	change(c, env.Bundles, key, func(b *fleet.Bundle) { b.Spec.Targets = before })
}

func (c *churn) flipLabels() {
	key, labels := c.pickCluster(), c.labels()
	var before map[string]string
	change(c, env.Clusters, key, func(k *fleet.Cluster) { before, k.Labels = k.Labels, labels })
	change(c, env.Clusters, key, func(k *fleet.Cluster) { k.Labels = before })
}

// relabelMany is more than the brake lets through.
func (c *churn) relabelMany() {
	value := pick(c, environments())
	var all []kube.Key
	c.witness.Look(func(w *oracle.World) { all = keys(w.Clusters) })
	for _, key := range first(all, homeClusters-3) {
		change(c, env.Clusters, key, func(k *fleet.Cluster) { k.Labels["env"] = value })
	}
}

// hold says a person's word about what may be removed.
func (c *churn) hold(b *fleet.Bundle) {
	if b.Annotations == nil {
		b.Annotations = map[string]string{}
	}
	switch _, held := b.Annotations[names.AnnotationHold]; {
	case held:
		delete(b.Annotations, names.AnnotationHold)
	case c.rng.IntN(3) == 0:
		b.Annotations[names.AnnotationHold] = "true"
	default:
		b.Annotations[names.AnnotationReleaseHeld] = "yes"
	}
}

// deleteDeployment is what nobody should do: it comes back.
func (c *churn) deleteDeployment() {
	key := c.pickKey(func(w *oracle.World) []kube.Key { return keys(w.Deployments) })
	c.remove(key, func(ctx context.Context, key kube.Key) error {
		bd, err := env.BundleDeployments.Get(ctx, key.Namespace, key.Name)
		if err != nil {
			return err
		}
		c.witness.Allow(bd.UID)
		return env.BundleDeployments.Delete(ctx, bd)
	})
}

// agentReturns brings back the agent that is first by name, so that few stay away for long.
func (c *churn) agentReturns() {
	away := slices.SortedFunc(maps.Keys(c.agents.offline()), func(a, b kube.Key) int { return cmp.Compare(a.String(), b.String()) })
	if len(away) > 0 {
		c.agents.leave(away[0], false)
	}
}

func (c *churn) makeCluster(workspace string, number int) {
	key := kube.Key{Namespace: workspace, Name: fmt.Sprintf("c%02d", number)}
	made := create(c, env.Clusters, harness.NewCluster(key.Namespace, key.Name, c.labels()))
	if made && number%agentEvery == 0 {
		c.agents.inhabit(key)
	}
}

// create makes an object, unless there is one of its name.
func create[T kube.Object, L runtime.Object](c *churn, kind harness.Kind[T, L], obj T) (made bool) {
	c.Helper()
	harness.Eventually(c, "an object is made", func(ctx context.Context) error {
		_, err := kind.Create(ctx, obj)
		made = err == nil
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	return made
}

func (c *churn) makeGroup(name string) {
	workspace := c.home
	if c.rng.IntN(4) == 0 {
		workspace = c.away
	}
	create(c, env.ClusterGroups, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name, Labels: c.groupLabels()},
		Spec:       fleet.ClusterGroupSpec{Selector: c.selector()},
	})
}

func (c *churn) makeBundle() {
	const enough = 7
	var bundles int
	c.witness.Look(func(w *oracle.World) { bundles = len(w.Bundles) })
	if bundles >= enough {
		return
	}
	workspace := c.home
	if c.rng.IntN(5) == 0 {
		workspace = c.away
	}
	create(c, env.Bundles, c.bundle(workspace))
}

func (c *churn) makeMapping() {
	create(c, env.BundleNamespaceMappings, &fleet.BundleNamespaceMapping{
		ObjectMeta:        metav1.ObjectMeta{Namespace: c.home, Name: fmt.Sprintf("mapping-%d", c.rng.IntN(2))},
		BundleSelector:    pick(c, []*metav1.LabelSelector{{}, {MatchLabels: map[string]string{"reach": "far"}}}),
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "away"}},
	})
}

func (c *churn) removeMapping() {
	key := c.pickKey(func(w *oracle.World) []kube.Key { return keys(w.Mappings) })
	c.remove(key, func(ctx context.Context, key kube.Key) error { return discard(ctx, env.BundleNamespaceMappings, key) })
}

// restrict makes a restriction that no GitRepo keeps to: they are not acted on while it is there. Or takes it away.
func (c *churn) restrict() {
	key := kube.Key{Namespace: c.home, Name: "restriction"}
	if c.restricted {
		c.remove(key, func(ctx context.Context, key kube.Key) error { return discard(ctx, env.GitRepoRestrictions, key) })
	} else {
		create(c, env.GitRepoRestrictions, &fleet.GitRepoRestriction{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, AllowedRepoPatterns: []string{"none"},
		})
	}
	c.restricted = !c.restricted
}
