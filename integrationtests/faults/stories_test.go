package faults

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/churn/oracle"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// story is something that users do. prepare makes what is there before, and returns what they then do.
type story struct {
	name    string
	prepare func(s *scene) (play func())
}

func stories() []story {
	return []story{
		{"deploy two bundles to three clusters", func(s *scene) func() {
			s.three()
			return func() {
				s.bundle("web", everywhere())
				s.bundle("db", where("prod"), where("dev"))
			}
		}},
		{"register clusters", func(s *scene) func() {
			s.bundle("web", everywhere())
			return func() {
				s.cluster("one", "prod")
				s.cluster("two", "dev")
			}
		}},
		{"edit targets", func(s *scene) func() {
			s.three()
			web, db := s.bundle("web", everywhere()), s.bundle("db", where("prod"))
			return func() {
				s.retarget(web, where("prod"))
				custom := where("dev")
				custom.DefaultNamespace = "elsewhere"
				s.retarget(db, custom, where("prod"))
			}
		}},
		{"relabel a cluster and edit a group", func(s *scene) func() {
			three := s.three()
			group := s.group("production", "prod")
			s.bundle("web", members("production"))
			s.bundle("db", where("prod"))
			return func() {
				s.relabel(three[0], "dev")
				env.ClusterGroups.Edit(s, group, func(g *fleet.ClusterGroup) { g.Spec.Selector = inEnv("dev") })
			}
		}},
		{"delete a bundle and a cluster", func(s *scene) func() {
			three := s.three()
			web := s.bundle("web", everywhere())
			s.bundle("db", everywhere())
			return func() {
				env.Bundles.Remove(s, web)
				env.Clusters.Remove(s, three[0])
			}
		}},
		{"make a GitRepo", func(s *scene) func() {
			s.three()
			git := s.repository()
			return func() { s.follow(git) }
		}},
		{"take a folder out of git", func(s *scene) func() {
			s.three()
			git := s.repository()
			s.follow(git)
			return func() {
				commit := git.Push(s, repo.Change{Remove: []string{"api"}})
				s.facts.Repositories[git.URL] = oracle.Head{Commit: commit, Folders: []string{"db", "web"}}
			}
		}},
		{"delete a GitRepo", func(s *scene) func() {
			s.three()
			repo := s.follow(s.repository())
			return func() { env.GitRepos.Remove(s, repo) }
		}},
	}
}

// three makes three clusters, of which the last has an agent.
func (s *scene) three() [3]types.NamespacedName {
	s.Helper()
	return [3]types.NamespacedName{s.cluster("one", "prod"), s.cluster("two", "dev"), s.inhabited("three", "prod")}
}

// repository makes a git repository with three folders.
func (s *scene) repository() *harness.Repository {
	s.Helper()
	git, write, folders := harness.GitRepository(s), map[string]string{}, []string{"api", "db", "web"}
	for _, folder := range folders {
		write[folder+"/fleet.yaml"] = "defaultNamespace: apps\n"
		write[folder+"/configmap.yaml"] = manifest(folder)
	}
	s.facts.Repositories[git.URL] = oracle.Head{Commit: git.Push(s, repo.Change{Write: write}), Folders: folders}
	return git
}

// follow makes a GitRepo.
func (s *scene) follow(git *harness.Repository) types.NamespacedName {
	s.Helper()
	return harness.KeyOf(env.GitRepos.Make(s, harness.NewGitRepo(s.home, "shop", git, func(g *fleet.GitRepo) {
		g.Spec.Targets = []fleet.GitTarget{{Name: "production", ClusterSelector: inEnv("prod")}}
	})))
}
