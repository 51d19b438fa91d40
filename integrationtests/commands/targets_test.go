package commands

import (
	"context"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/cli"
	reports "github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// TestTargetsSaysWhatTheManagerDoes: for every form of targets, the command
// says yes of exactly the clusters to which the manager deploys.
func TestTargetsSaysWhatTheManagerDoes(t *testing.T) {
	t.Parallel()
	ws, other := env.Workspace(t), env.Workspace(t)
	cluster(t, ws, "one", map[string]string{"env": "dev"})
	cluster(t, ws, "two", map[string]string{"env": "prod", "management.cattle.io/cluster-display-name": "second"})
	cluster(t, ws, "three", map[string]string{"env": "prod"})
	cluster(t, other, "far", map[string]string{"env": "prod"})
	for _, namespace := range []string{ws, other} {
		env.ClusterGroups.Make(t, &fleet.ClusterGroup{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "production", Labels: map[string]string{"tier": "gold"}},
			Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
		})
	}
	env.BundleNamespaceMappings.Make(t, &fleet.BundleNamespaceMapping{
		ObjectMeta:        metav1.ObjectMeta{Namespace: ws, Name: "share"},
		BundleSelector:    &metav1.LabelSelector{MatchLabels: map[string]string{"share": "yes"}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": other}},
	})
	one, two, three, far := ws+"/one", ws+"/two", ws+"/three", other+"/far"
	share := map[string]string{"share": "yes"}
	everywhere := fleet.BundleTarget{Name: "all", ClusterSelector: &metav1.LabelSelector{}}
	gold := &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}
	broken := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Oops"}}}
	tests := []struct {
		name         string
		labels       map[string]string
		mode         fleet.TargetCustomizationMode
		targets      []fleet.BundleTarget
		restrictions []fleet.BundleTargetRestriction
		want         []string
		doubt        bool
	}{
		{name: "all", targets: []fleet.BundleTarget{everywhere}, want: []string{one, two, three}},
		{name: "selector", targets: []fleet.BundleTarget{inEnv("prod")}, want: []string{two, three}},
		{name: "names", targets: []fleet.BundleTarget{{ClusterName: "one"}, {ClusterName: "second"}}, want: []string{one, two}},
		{name: "group", targets: []fleet.BundleTarget{{ClusterGroup: "production"}}, want: []string{two, three}},
		{name: "group-labels", targets: []fleet.BundleTarget{{ClusterGroupSelector: gold, ClusterName: "two"}}, want: []string{two}},
		{name: "nothing", targets: []fleet.BundleTarget{{Name: "empty"}}, want: []string{}},
		{name: "do-not-deploy", targets: []fleet.BundleTarget{{ClusterName: "two", DoNotDeploy: true}, everywhere}, want: []string{one, three}},
		{name: "do-not-deploy-any", mode: fleet.AllMatches, targets: []fleet.BundleTarget{everywhere, {ClusterName: "two", DoNotDeploy: true}}, want: []string{one, three}},
		{name: "restricted", targets: []fleet.BundleTarget{everywhere}, restrictions: []fleet.BundleTargetRestriction{{ClusterGroup: "production"}}, want: []string{two, three}},
		{name: "mapped", labels: share, targets: []fleet.BundleTarget{{ClusterGroup: "production"}}, want: []string{two, three, far}},
		{name: "missing-group", targets: []fleet.BundleTarget{{ClusterGroup: "missing"}, {ClusterName: "one"}}, want: []string{one}, doubt: true},
		{name: "broken-selector", targets: []fleet.BundleTarget{{ClusterName: "two", ClusterSelector: broken}, {ClusterName: "one"}}, want: []string{one}, doubt: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := bundle(t, ws, tt.name, func(b *fleet.Bundle) {
				b.Labels, b.Spec.TargetCustomizationMode = tt.labels, tt.mode
				b.Spec.Targets, b.Spec.TargetRestrictions = tt.targets, tt.restrictions
			})
			awaitOn(t, b, tt.want...)
			code := cli.ExitYes
			if tt.doubt {
				code = cli.ExitNo
			}
			var said reports.Targets
			flotilla(t, "targets", "-n", ws, "bundle/"+b.Name, "-o", "json").mustBe(t, code).json(t, &said)
			yes := []string{}
			for _, c := range said.Bundles[0].Clusters {
				if c.Answer == targeting.AnswerYes {
					yes = append(yes, c.Cluster)
				}
				if (c.Answer == targeting.AnswerYes) != (c.Deployment == "present") {
					t.Errorf("%s: %s (%s), but its deployment is %s", c.Cluster, c.Answer, c.Message, c.Deployment)
				}
			}
			if on := deployedOn(t, b); !slices.Equal(on, yes) {
				t.Errorf("it is deployed on %q, the command says %q", on, yes)
			}
			if (len(said.Bundles[0].Problems) > 0) != tt.doubt {
				t.Errorf("problems %v", said.Bundles[0].Problems)
			}
			for _, c := range []string{one, far} {
				code := cli.ExitNo
				if slices.Contains(tt.want, c) {
					code = cli.ExitYes
				}
				flotilla(t, "targets", "-n", ws, "bundles/"+b.Name, c).mustBe(t, code).mustSay(t, "bundle/"+b.Name+" on cluster "+c+": ")
			}
		})
	}
}

// TestTargetsOfAGitRepo: of all its bundles, and of its own targets before it has any.
func TestTargetsOfAGitRepo(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", map[string]string{"env": "dev"})
	cluster(t, ws, "two", map[string]string{"env": "prod"})
	git := harness.GitRepository(t)
	gitRepo := harness.NewGitRepo(ws, "shop", git, func(r *fleet.GitRepo) {
		r.Spec.Paths = []string{"web", "db"}
		r.Spec.Targets = []fleet.GitTarget{{Name: "prod", ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}}
	})
	env.GitRepos.Make(t, gitRepo)
	flotilla(t, "targets", "-n", ws, "gitrepo/shop").mustBe(t, cli.ExitYes).
		mustSay(t, "note: GitRepo shop has no bundles yet", ws+"/two   yes", ws+"/one   no")
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	git.Push(t, repo.Change{Write: map[string]string{"web/a.yaml": object, "db/a.yaml": object}})
	harness.Eventually(t, "there are bundles", func(context.Context) error {
		if n := len(env.Bundles.All(t, ws, nil).Items); n != 2 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	awaitOn(t, kube.Key{Namespace: ws, Name: "shop-web"}, ws+"/two")
	awaitOn(t, kube.Key{Namespace: ws, Name: "shop-db"}, ws+"/two")
	flotilla(t, "targets", "-n", ws, "gitrepos.fleet.cattle.io/shop").mustBe(t, cli.ExitYes).
		mustSay(t, "present", "shop-db,shop-web", "clusterSelector env=prod: the cluster has env=dev")
	flotilla(t, "targets", "-n", ws, "gitrepo/shop", "two").mustBe(t, cli.ExitYes)
	flotilla(t, "targets", "-n", ws, "gitrepo/shop", "one").mustBe(t, cli.ExitNo)
}

// TestNoAnswer: what is no answer has an exit code of its own and says what to do.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", nil)
	b := "bundle/" + bundle(t, ws, "web", nil).Name
	tests := []struct {
		name string
		args []string
		says string
	}{
		{"no such bundle", []string{"targets", "-n", ws, "bundle/other"}, `there is no bundle "other" in namespace ` + ws + `: correct the name, or name its workspace with --namespace`},
		{"no such GitRepo", []string{"status", "-n", ws, "gitrepo/other"}, `there is no gitrepo "other" in namespace ` + ws},
		{"no such GitRepo to wait for", []string{"status", "-n", ws, "gitrepo/other", "--wait"}, `there is no gitrepo "other"`},
		{"nothing to hold", []string{"gc", "hold", "-n", ws, "bundle/other"}, `there is no bundle "other"`},
		{"no such cluster", []string{"targets", "-n", ws, b, "other"}, "there is no cluster " + ws + "/other: correct the name"},
		{"no kind", []string{"targets", "-n", ws, "web"}, `"web" is no object: write gitrepo/NAME or bundle/NAME`},
		{"another kind", []string{"gc", "hold", "-n", ws, "cluster/one"}, "write gitrepo/NAME or bundle/NAME"},
		{"an unknown form", []string{"status", "-n", ws, "-o", "yaml"}, `the only form is "json"`},
		{"a timeout without a wait", []string{"status", "-n", ws, "--timeout", "1s"}, "give --wait, too"},
		{"a commit of nothing", []string{"status", "-n", ws, b, "--commit", "abc"}, "--commit is about GitRepos"},
		{"no rights", []string{"targets", "-n", ws, b, "--as", "nobody"}, "ask whoever runs the hub for that right"},
		{"no hub there", []string{"status", "-n", ws, "--server", "https://127.0.0.1:1"}, "the hub at https://127.0.0.1:1 is not reached: check --kubeconfig and --context"},
		{"no such context", []string{"status", "-n", ws, "--context", "other"}, "finding the hub: "},
		{"an unknown command", []string{"marks"}, `unknown command "marks"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := flotilla(t, tt.args...).mustBe(t, cli.ExitError).mustSay(t, tt.says); got.out != "" {
				t.Errorf("standard output: %s", got.out)
			}
		})
	}
}
