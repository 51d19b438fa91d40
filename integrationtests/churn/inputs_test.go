package churn

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func environments() []string { return []string{"dev", "prod", "test"} }

func groupNames() []string { return []string{"blue", "green", "red", "ghost"} }

// labels are those of a cluster. Without a region, some bundles' values cannot be computed for it.
func (c *churn) labels() map[string]string {
	labels := map[string]string{"env": pick(c, environments())}
	if c.rng.IntN(6) > 0 {
		labels["region"] = pick(c, []string{"eu", "us"})
	}
	return labels
}

func (c *churn) groupLabels() map[string]string {
	return map[string]string{"tier": pick(c, []string{"gold", "silver"})}
}

// selector selects clusters. One in many does not parse.
func (c *churn) selector() *metav1.LabelSelector {
	switch n := c.rng.IntN(20); {
	case n == 0:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Like", Values: []string{"p*"}}}}
	case n < 4:
		return &metav1.LabelSelector{}
	case n < 7:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "env", Operator: metav1.LabelSelectorOpNotIn, Values: []string{pick(c, environments())}},
		}}
	case n < 9:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "region", Operator: pick(c, []metav1.LabelSelectorOperator{metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist})},
		}}
	case n < 12:
		return &metav1.LabelSelector{MatchLabels: map[string]string{"env": pick(c, environments()), "region": "eu"}}
	}
	return &metav1.LabelSelector{MatchLabels: map[string]string{"env": pick(c, environments())}}
}

// target selects clusters in one way or several. Now and then it names a group that is not there.
func (c *churn) target() fleet.GitTarget {
	t := fleet.GitTarget{Name: c.name("target")}
	switch n := c.rng.IntN(10); {
	case n == 0:
		t.ClusterName = fmt.Sprintf("c%02d", c.rng.IntN(homeClusters))
	case n < 3:
		t.ClusterGroup = pick(c, groupNames())
	case n == 3:
		t.ClusterGroupSelector = &metav1.LabelSelector{MatchLabels: c.groupLabels()}
	case n == 4:
		t.ClusterGroup, t.ClusterSelector = pick(c, groupNames()), c.selector()
	default:
		t.ClusterSelector = c.selector()
	}
	return t
}

func (c *churn) gitTargets() []fleet.GitTarget {
	var targets []fleet.GitTarget
	for range 1 + c.rng.IntN(2) {
		targets = append(targets, c.target())
	}
	return targets
}

// targets are those of a bundle: now and then none, and some say where not to deploy, or with which options.
func (c *churn) targets() []fleet.BundleTarget {
	var targets []fleet.BundleTarget
	for range c.rng.IntN(4) {
		t := c.target()
		target := fleet.BundleTarget{
			Name: t.Name, ClusterName: t.ClusterName, ClusterGroup: t.ClusterGroup,
			ClusterSelector: t.ClusterSelector, ClusterGroupSelector: t.ClusterGroupSelector,
		}
		switch n := c.rng.IntN(10); {
		case n == 0:
			target.DoNotDeploy = true
		case n < 4:
			target.DefaultNamespace = pick(c, []string{"one", "two"})
		}
		targets = append(targets, target)
	}
	return targets
}

func (c *churn) restrictions() []fleet.BundleTargetRestriction {
	var restrictions []fleet.BundleTargetRestriction
	for range c.rng.IntN(3) {
		restrictions = append(restrictions, fleet.BundleTargetRestriction(c.target()))
	}
	return restrictions
}

func (c *churn) bundle(workspace string) *fleet.Bundle {
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: c.name("bundle"), Labels: map[string]string{}}}
	b.Spec.Resources = resources(b.Name)
	b.Spec.Targets = c.targets()
	b.Spec.TargetCustomizationMode = pick(c, []fleet.TargetCustomizationMode{fleet.FirstMatch, fleet.FirstMatch, fleet.AllMatches})
	if c.rng.IntN(2) == 0 {
		b.Labels["reach"] = "far"
	}
	if c.rng.IntN(3) == 0 {
		b.Spec.TargetRestrictions = c.restrictions()
	}
	if c.rng.IntN(4) == 0 {
		b.Spec.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"region": "${ .ClusterLabels.region }"}}}
	}
	return b
}

// invalid says whether the values of a bundle cannot be computed for a cluster.
func invalid(b *fleet.Bundle, cluster *fleet.Cluster) bool {
	_, has := cluster.Labels["region"]
	return !has && b.Spec.Helm != nil && b.Spec.Helm.Values != nil
}

func resources(name string) []fleet.BundleResource {
	return []fleet.BundleResource{{Name: "configmap.yaml", Content: manifest(name)}}
}

func manifest(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}

// repository is a git repository, each folder of which is a bundle.
type repository struct {
	git     *harness.Repository
	name    string
	commit  string
	content map[string]bool
}

func newRepository(c *churn, name string) *repository {
	r := &repository{git: harness.GitRepository(c), name: name, content: map[string]bool{}}
	write := map[string]string{}
	for _, folder := range []string{"api", "db", "web"} {
		r.content[folder] = true
		maps.Copy(write, files(c, folder))
	}
	r.commit = r.git.Push(c, repo.Change{Write: write})
	return r
}

func (r *repository) folders() []string { return slices.Sorted(maps.Keys(r.content)) }

// push changes, adds or removes a folder.
func (r *repository) push(c *churn) {
	const least, most = 1, 5
	folder := pick(c, r.folders())
	switch n := c.rng.IntN(4); {
	case n == 0 && len(r.content) > least:
		delete(r.content, folder)
		r.commit = r.git.Push(c, repo.Change{Remove: []string{folder}})
		return
	case n == 1 && len(r.content) < most:
		folder = c.name("folder")
		r.content[folder] = true
	}
	r.commit = r.git.Push(c, repo.Change{Write: files(c, folder)})
}

// files are those of a folder, with something new in them.
func files(c *churn, folder string) map[string]string {
	return map[string]string{
		folder + "/fleet.yaml":     "defaultNamespace: apps\n",
		folder + "/configmap.yaml": manifest(c.name("content")),
	}
}

// makeGitRepo makes the GitRepo of some repository.
func (c *churn) makeGitRepo() {
	r := pick(c, c.repos)
	create(c, env.GitRepos, harness.NewGitRepo(c.home, r.name, r.git, func(g *fleet.GitRepo) {
		g.Spec.Targets = c.gitTargets()
		g.Spec.PollingInterval = &metav1.Duration{Duration: time.Second}
	}))
}
