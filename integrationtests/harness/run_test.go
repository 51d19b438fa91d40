package harness

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const configMap = `apiVersion: v1
kind: ConfigMap
metadata: {name: sample, namespace: %s}
data: {from: git}
`

// TestManagerAndAgentRunAgainstTheEnvironment shows that all parts of the harness fit together: a commit becomes an object on a
// downstream cluster (here the hub itself), and goes with the GitRepo.
func TestManagerAndAgentRunAgainstTheEnvironment(t *testing.T) {
	workspace, target := env.Workspace(t), env.Workspace(t)
	git := GitRepository(t)
	commit := git.Push(t, repo.Change{Write: map[string]string{"app/configmap.yaml": fmt.Sprintf(configMap, target)}})
	manager := env.StartManager(t, nil)
	env.StartAgent(t)

	cluster := env.ImportCluster(t, NewCluster(workspace, "local", nil), env)
	gitRepo := env.GitRepos.Make(t, NewGitRepo(workspace, "sample", git))

	if got := env.GitRepos.AwaitReady(t, KeyOf(gitRepo)).Status.Commit; got != commit {
		t.Errorf("GitRepo.status.commit is %s, want %s", got, commit)
	}
	sample := func(ctx context.Context) error {
		got, err := env.Kubernetes.CoreV1().ConfigMaps(target).Get(ctx, "sample", metav1.GetOptions{})
		if err == nil && got.Data["from"] != "git" {
			return fmt.Errorf("data is %v", got.Data)
		}
		return err
	}
	Eventually(t, "the ConfigMap is there", sample)

	manager.Stop(t)
	manager.Start()
	env.GitRepos.Remove(t, KeyOf(gitRepo))
	env.GitRepos.AwaitGone(t, KeyOf(gitRepo))
	Eventually(t, "the deployment is gone", func(context.Context) error {
		left := env.BundleDeployments.All(t, names.ClusterNamespace(cluster.Namespace, cluster.Name), nil)
		if len(left.Items) > 0 {
			return fmt.Errorf("%d deployments are there: %v", len(left.Items), deploymentNames(left))
		}
		return nil
	})
	if sample(t.Context()) == nil {
		t.Error("the ConfigMap outlived its deployment")
	}
}

func deploymentNames(list *fleet.BundleDeploymentList) []string {
	found := make([]string, 0, len(list.Items))
	for _, bd := range list.Items {
		found = append(found, bd.Name)
	}
	return found
}

func TestRunningReportsHowItEnded(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name string
		run  func(context.Context) error
		want error
	}{
		{"until it is told to", func(ctx context.Context) error { <-ctx.Done(); return nil }, nil},
		{"with an error", func(context.Context) error { return broken }, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(tt.run)
			if err := r.stop(); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestRunningNoticesAnEndThatNobodyAskedFor(t *testing.T) {
	r := start(func(context.Context) error { return nil })
	<-r.ended
	if r.stop() == nil {
		t.Error("got no error")
	}
}
