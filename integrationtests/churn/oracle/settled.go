package oracle

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Facts are what a test knows and the hub does not say.
type Facts struct {
	// Offline are the clusters whose agent confirms nothing.
	Offline map[kube.Key]bool
	// Invalid says whether the bundle's options do not hold on the cluster; nil is never.
	Invalid func(*fleet.Bundle, *fleet.Cluster) bool
	// Restricted are the namespaces whose GitRepos are not acted on.
	Restricted map[string]bool
	// Repositories are the heads of repositories, by URL.
	Repositories map[string]Head
}

// Head is the newest commit of a repository.
type Head struct {
	Commit string
	// Folders are those that should be a bundle.
	Folders []string
}

// The brake: side effects beyond this many deployments in this time are held.
const (
	brakeWindow = 10 * time.Minute
	brakeCount  = 10
)

// Settled says what is wrong with the world of a hub that rests.
func (w *Witness) Settled(f Facts) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &check{World: w.world, Facts: f}
	c.parents()
	for _, bd := range w.world.Deployments {
		c.deployment(bd)
	}
	for _, b := range w.world.Bundles {
		if b.DeletionTimestamp == nil {
			c.bundle(b)
			c.brake(b, w.removals)
		}
	}
	for _, repo := range w.world.GitRepos {
		c.gitRepo(repo)
	}
	c.contents()
	c.recount()
	slices.Sort(c.wrong)
	return c.wrong
}

// check collects what is wrong.
type check struct {
	*World
	Facts
	wrong []string
}

func (c *check) fail(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// parents are let go as soon as their children are marked.
func (c *check) parents() {
	for key, b := range c.Bundles {
		if b.DeletionTimestamp != nil {
			c.fail("bundle %s is deleted, but not gone: finalizers %q", key, b.Finalizers)
		}
	}
	for key, r := range c.GitRepos {
		if r.DeletionTimestamp != nil {
			c.fail("GitRepo %s is deleted, but not gone: finalizers %q", key, r.Finalizers)
		}
	}
	for key, cluster := range c.Clusters {
		if cluster.DeletionTimestamp != nil {
			c.fail("cluster %s is deleted, but not gone: finalizers %q", key, cluster.Finalizers)
		}
	}
}

// deployment has to have a reason to be there.
func (c *check) deployment(bd *fleet.BundleDeployment) {
	name := bd.Namespace + "/" + bd.Name
	b, cluster := c.BundleOf(bd), c.ClusterOf(bd)
	if bd.DeletionTimestamp != nil {
		switch {
		case !slices.Contains(bd.Finalizers, names.FinalizerDeployment):
			c.fail("deployment %s is deleted, but not gone: finalizers %q", name, bd.Finalizers)
		case !c.Offline[kube.ClusterOf(bd)]:
			c.fail("deployment %s is being removed, although the agent is there", name)
		case b != nil && !names10(condition(b.Status.Conditions, fleet.ConditionRemoving), kube.ClusterOf(bd).String()):
			c.fail("bundle %s does not list %s as removing", kube.BundleOf(bd), kube.ClusterOf(bd))
		}
		return
	}
	if b == nil || cluster == nil {
		c.fail("deployment %s is an orphan of bundle %s on cluster %s", name, kube.BundleOf(bd), kube.ClusterOf(bd))
		return
	}
	if verdict := c.Match(b, cluster); verdict.Decided && !verdict.Deployed && !c.held(b) {
		c.fail("deployment %s is left: bundle %s does not match cluster %s", name, kube.BundleOf(bd), kube.ClusterOf(bd))
	}
}

// names10 says whether a condition names the cluster, or names ten others already.
func names10(condition *fleet.Condition, cluster string) bool {
	return condition != nil && (strings.Contains(condition.Message, cluster) || strings.Contains(condition.Message, "…"))
}

func condition(all []fleet.Condition, kind string) *fleet.Condition {
	for i := range all {
		if all[i].Type == kind && all[i].Status == metav1.ConditionTrue {
			return &all[i]
		}
	}
	return nil
}

// held says whether removals of the bundle wait for a person.
func (c *check) held(b *fleet.Bundle) bool {
	return condition(b.Status.Conditions, fleet.ConditionPruneHeld) != nil
}

// brake is used only where much would go.
func (c *check) brake(b *fleet.Bundle, removals []Removal) {
	if !c.held(b) || b.Annotations[names.AnnotationHold] == "true" {
		return
	}
	count := 0
	for _, bd := range c.Deployments {
		if cluster := c.ClusterOf(bd); c.BundleOf(bd) == b && bd.DeletionTimestamp == nil && cluster != nil {
			if verdict := c.Match(b, cluster); verdict.Decided && !verdict.Deployed {
				count++
			}
		}
	}
	if count == 0 {
		c.fail("bundle %s says %q, but nothing is held", kube.KeyOf(b), condition(b.Status.Conditions, fleet.ConditionPruneHeld).Message)
	}
	for _, r := range removals {
		if r.Bundle == kube.KeyOf(b) && time.Since(r.At) < brakeWindow {
			count++
		}
	}
	if count <= brakeCount {
		c.fail("bundle %s is held with no more than %d side effects", kube.KeyOf(b), count)
	}
}

// bundle has to be on every cluster that it matches.
func (c *check) bundle(b *fleet.Bundle) {
	content, err := bundle.Encode(b.Spec.Resources)
	if err != nil {
		c.fail("bundle %s: %v", kube.KeyOf(b), err)
		return
	}
	for key, cluster := range c.Clusters {
		if cluster.DeletionTimestamp != nil || c.invalid(b, cluster) {
			continue
		}
		verdict := c.Match(b, cluster)
		if !verdict.Decided || !verdict.Deployed {
			continue
		}
		pair := fmt.Sprintf("bundle %s on cluster %s", kube.KeyOf(b), key)
		bd := c.Deployments[kube.Key{Namespace: names.ClusterNamespace(key.Namespace, key.Name), Name: b.Name}]
		switch {
		case cluster.Status.Namespace == "":
			c.fail("cluster %s has no namespace", key)
		case bd == nil:
			c.fail("%s has no deployment", pair)
		case bd.DeletionTimestamp != nil:
			if !c.Offline[key] || !begun(bd) {
				c.fail("%s matches, and its deployment is still being removed", pair)
			}
		case c.BundleOf(bd) != b:
			c.fail("%s: its deployment is of bundle %s", pair, kube.BundleOf(bd))
		default:
			if got, _, _ := strings.Cut(bd.Spec.StagedDeploymentID, ":"); got != content.Name {
				c.fail("%s: content %s is staged, want %s", pair, got, content.Name)
			}
			c.runs(pair, bd, b, verdict)
		}
	}
}

func (c *check) invalid(b *fleet.Bundle, cluster *fleet.Cluster) bool {
	return c.Invalid != nil && c.Invalid(b, cluster)
}

// begun says whether the agent has begun to remove the deployment.
func begun(bd *fleet.BundleDeployment) bool {
	return slices.ContainsFunc(bd.Status.Conditions, func(c fleet.Condition) bool { return c.Type == fleet.ConditionRemoved })
}

// runs compares what a deployment asks for with what its bundle says.
func (c *check) runs(pair string, bd *fleet.BundleDeployment, b *fleet.Bundle, verdict Verdict) {
	namespace := b.Spec.DefaultNamespace
	for _, options := range verdict.Options {
		var target fleet.BundleDeploymentOptions
		if err := json.Unmarshal([]byte(options), &target); err == nil && target.DefaultNamespace != "" {
			namespace = target.DefaultNamespace
		}
	}
	if got := bd.Spec.StagedOptions.DefaultNamespace; got != namespace {
		c.fail("%s: namespace %q is staged, want %q", pair, got, namespace)
	}
	paused := b.Spec.Paused || c.ClusterOf(bd).Spec.Paused
	if bd.Spec.Paused != paused {
		c.fail("%s: paused is %t, want %t", pair, bd.Spec.Paused, paused)
	}
	if !paused && bd.Spec.DeploymentID != bd.Spec.StagedDeploymentID {
		c.fail("%s: %s is current, %s is staged", pair, bd.Spec.DeploymentID, bd.Spec.StagedDeploymentID)
	}
}

// gitRepo has the bundles of its repository's newest commit.
func (c *check) gitRepo(repo *fleet.GitRepo) {
	head, known := c.Repositories[repo.Spec.Repo]
	if !known || repo.DeletionTimestamp != nil || c.Restricted[repo.Namespace] {
		return
	}
	if repo.Status.Commit != head.Commit {
		c.fail("GitRepo %s is at commit %q, want %q", kube.KeyOf(repo), repo.Status.Commit, head.Commit)
	}
	var want []fleet.BundleTargetRestriction
	for _, t := range repo.Spec.Targets {
		want = append(want, fleet.BundleTargetRestriction(t))
	}
	wanted := map[string]bool{}
	for _, folder := range head.Folders {
		name := names.Bundle(repo.Name, folder)
		wanted[name] = true
		b := c.Bundles[kube.Key{Namespace: repo.Namespace, Name: name}]
		switch {
		case b == nil:
			c.fail("GitRepo %s has no bundle for folder %s", kube.KeyOf(repo), folder)
		case text(b.Spec.TargetRestrictions) != text(want):
			c.fail("bundle %s has other targets than its GitRepo: %s, want %s", kube.KeyOf(b), text(b.Spec.TargetRestrictions), text(want))
		case b.Spec.Paused != repo.Spec.Paused:
			c.fail("bundle %s: paused is %t, that of its GitRepo %t", kube.KeyOf(b), b.Spec.Paused, repo.Spec.Paused)
		}
	}
	for key, b := range c.Bundles {
		if kube.RepoOf(b) == kube.KeyOf(repo) && !wanted[key.Name] && condition(repo.Status.Conditions, fleet.ConditionPruneHeld) == nil {
			c.fail("bundle %s is left: its folder is gone", key)
		}
	}
}

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// contents are there as long as they are used, and marked when they are not.
func (c *check) contents() {
	used := map[string]bool{}
	for _, bd := range c.Deployments {
		for _, content := range kube.ContentsOf(bd) {
			used[content] = true
			if c.Contents[kube.Key{Name: content}] == nil {
				c.fail("deployment %s/%s runs content %s, which is not there", bd.Namespace, bd.Name, content)
			}
		}
	}
	for key, content := range c.Contents {
		if marked := content.Annotations[names.AnnotationUnused] != ""; marked == used[key.Name] {
			c.fail("content %s: used is %t, marked as unused is %t", key.Name, used[key.Name], marked)
		}
	}
}

// Missing returns the clusters that a bundle matches and is not on.
func (w *Witness) Missing(key kube.Key) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.world.Bundles[key]
	if b == nil {
		return []string{"any cluster: it is not there"}
	}
	var missing []string
	for clusterKey, cluster := range w.world.Clusters {
		if cluster.DeletionTimestamp != nil || cluster.Status.Namespace == "" {
			continue
		}
		verdict := w.world.Match(b, cluster)
		at := kube.Key{Namespace: names.ClusterNamespace(clusterKey.Namespace, clusterKey.Name), Name: key.Name}
		if verdict.Deployed && w.world.Deployments[at] == nil {
			missing = append(missing, clusterKey.String())
		}
	}
	slices.Sort(missing)
	return missing
}
