package harness

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// pollingInterval is how often tests have repositories asked for new commits.
const pollingInterval = 100 * time.Millisecond

// NewCluster returns a cluster that no agent has announced itself for.
func NewCluster(workspace, name string, labels map[string]string) *fleet.Cluster {
	return &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name, Labels: labels}}
}

// NewGitRepo returns a GitRepo for a repository of GitRepository, which targets every cluster of the workspace and notices
// commits soon. Edits change it.
func NewGitRepo(workspace, name string, repository *Repository, edits ...func(*fleet.GitRepo)) *fleet.GitRepo {
	gitRepo := &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name},
		Spec: fleet.GitRepoSpec{
			Repo:            repository.URL,
			Branch:          repo.DefaultBranch,
			PollingInterval: &metav1.Duration{Duration: pollingInterval},
			Targets:         []fleet.GitTarget{{ClusterSelector: &metav1.LabelSelector{}}},
		},
	}
	for _, edit := range edits {
		edit(gitRepo)
	}
	return gitRepo
}
