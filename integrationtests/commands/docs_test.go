package commands

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/cli"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// TestDocumentedCommandsRun runs what docs/commands.md and the help of the commands
// tell people to type, as it is written, against the workspace that they speak of.
// Where the page shows what a command prints, it prints that.
func TestDocumentedCommandsRun(t *testing.T) {
	ws := env.Workspace(t)
	commit := fill(t, ws)
	page, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	const written = "fleet-default" // the workspace that the page and the help speak of
	commands := commandsOf(string(page))
	for _, name := range []string{"targets", "status", "gc", "gc list", "gc hold", "gc release"} {
		help := flotilla(t, append(strings.Fields(name), "--help")...).mustBe(t, cli.ExitYes)
		_, examples, _ := strings.Cut(help.out, "Examples:")
		for line := range strings.Lines(examples) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "flotilla ") && !strings.Contains(line, "[command]") {
				commands = append(commands, shown{line: line})
			}
		}
	}
	const atLeast = 20
	if len(commands) < atLeast {
		t.Fatalf("found only %d commands", len(commands))
	}
	for i, c := range commands {
		if elsewhere(c.line) {
			continue
		}
		t.Run(fmt.Sprintf("%02d %s", i, c.line), func(t *testing.T) {
			args := arguments(t, strings.NewReplacer("$(git rev-parse HEAD)", commit, written, ws).Replace(c.line))
			if !strings.Contains(c.line, " -n ") && !strings.Contains(c.line, " -A") {
				args = append(args, "-n", ws)
			}
			got := flotilla(t, args...)
			got.out = strings.ReplaceAll(got.out, ws, written)
			if got.code == cli.ExitError {
				t.Fatalf("%s\n%s", got.out, got.err)
			}
			if c.prints != "" && steady(got.out) != steady(c.prints) {
				t.Errorf("the page shows\n%s\nthe command prints\n%s", c.prints, got.out)
			}
		})
	}
}

// elsewhere says whether a command is tested elsewhere: some need files that the page takes for granted, and one makes a
// cluster that the others would wait for.
func elsewhere(line string) bool {
	return slices.Contains([]string{"bundle", "target", "render", "lint", "join"}, strings.Fields(line)[1])
}

// shown is a command line of the page, and what the page says it prints.
type shown struct{ line, prints string }

// commandsOf finds the command lines in the page's blocks.
func commandsOf(page string) []shown {
	var found []shown
	for _, block := range regexp.MustCompile("(?ms)^```(sh|console)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		if first, rest, _ := strings.Cut(block[2], "\n"); block[1] == "console" {
			found = append(found, shown{strings.TrimPrefix(first, "$ "), rest})
			continue
		}
		for line := range strings.Lines(block[2]) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "flotilla ") {
				found = append(found, shown{line: line})
			}
		}
	}
	return found
}

// arguments splits a command line as a shell does, as far as ours need it, and
// leaves out the name of the program and what the output is piped into.
func arguments(t *testing.T, line string) []string {
	t.Helper()
	line, _, _ = strings.Cut(line, " | ")
	if strings.ContainsAny(line, "'`$<>&;") {
		t.Fatalf("%s needs a shell", line)
	}
	var args []string
	for _, field := range strings.Fields(line) {
		args = append(args, strings.Trim(field, `"`))
	}
	return args[1:]
}

// steady leaves out of a text what differs from run to run: times and commits,
// and with them the widths of columns.
func steady(text string) string {
	text = regexp.MustCompile(`\b[0-9a-f]{12}\b`).ReplaceAllString(text, "COMMIT")
	text = regexp.MustCompile(`\b\d+(s|ms|m|m\d+s)\b`).ReplaceAllString(text, "TIME")
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// fill makes what the page speaks of: the GitRepo shop with the bundles
// shop-db and shop-web, ready on the production clusters of a workspace; the
// bundle jobs, which fails on one of them; and the bundle old, which a cluster
// has yet to remove. It returns the commit.
func fill(t *testing.T, ws string) string {
	t.Helper()
	clusters := map[string]kube.Key{}
	for name, label := range map[string]string{"prod-1": "prod", "prod-2": "prod", "dev-1": "dev"} {
		clusters[name] = cluster(t, ws, name, map[string]string{"env": label})
		agent(t, clusters[name])
	}
	git := harness.GitRepository(t)
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	customized := "targetCustomizations:\n- {name: no-dev, clusterName: dev-1, doNotDeploy: true}\n"
	commit := git.Push(t, repo.Change{Write: map[string]string{"web/a.yaml": object, "db/a.yaml": object, "db/fleet.yaml": customized}})
	env.GitRepos.Make(t, harness.NewGitRepo(ws, "shop", git, func(r *fleet.GitRepo) {
		r.Spec.Paths = []string{"web", "db"}
		r.Spec.Targets = []fleet.GitTarget{{Name: "prod", ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}}
	}))
	for _, name := range []string{"shop-web", "shop-db"} {
		b := kube.Key{Namespace: ws, Name: name}
		awaitOn(t, b, ws+"/prod-1", ws+"/prod-2")
		report(t, b, clusters["prod-1"])
		report(t, b, clusters["prod-2"])
		env.Bundles.AwaitReady(t, b)
	}
	flotilla(t, "status", "-n", ws, "gitrepo/shop", "--wait").mustBe(t, cli.ExitYes)
	jobs := bundle(t, ws, "jobs", func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{inEnv("prod")} })
	awaitOn(t, jobs, ws+"/prod-1", ws+"/prod-2")
	report(t, jobs, clusters["prod-1"])
	env.BundleDeployments.EditStatus(t, deployment(jobs, clusters["prod-2"]), func(bd *fleet.BundleDeployment) {
		bd.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionDeployed, Status: metav1.ConditionFalse, Message: "namespaces \"jobs\" not found"}}
	})
	env.Bundles.AwaitCondition(t, jobs, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "ErrApplied(1)"})
	old := bundle(t, ws, "old", func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{inEnv("dev")} })
	awaitOn(t, old, ws+"/dev-1")
	report(t, old, clusters["dev-1"])
	env.Bundles.Edit(t, old, func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{inEnv("test")} })
	awaitOn(t, old)
	env.Bundles.AwaitCondition(t, old, fleet.Condition{Type: fleet.ConditionRemoving, Status: metav1.ConditionTrue})
	env.Clusters.AwaitCondition(t, clusters["prod-2"], fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "ErrApplied(1)"})
	for _, name := range []string{"prod-1", "dev-1"} {
		env.Clusters.AwaitReady(t, clusters[name])
	}
	return commit
}
