package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/flotilla-gitops/flotilla/dev/controlplane/binaries"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// name is that of the demo's repository and of its GitRepo.
const name = "shop"

// apps are the folders of the repository; each makes one bundle with one Deployment of that name.
func apps() []string { return []string{"api", "cache", "web"} }

// The clusters of the story.
const (
	development = "downstream-1"
	production  = "downstream-2"
)

// replicas is what the sample's folders ask for on each cluster.
func replicas() map[string]map[string]int32 {
	return map[string]map[string]int32{
		development: {"api": 1, "cache": 1, "web": 1},
		production:  {"api": 2, "cache": 2, "web": 3},
	}
}

// deploy makes the GitRepo and waits until both clusters run what it says.
func (s *story) deploy(ctx context.Context) error {
	if err := s.removeLeftovers(ctx); err != nil {
		return err
	}
	root, err := binaries.SourceRoot()
	if err != nil {
		return err
	}
	repository, err := repo.Init(ctx, s.Repository(name).Dir())
	if err != nil {
		return err
	}
	tree := os.DirFS(filepath.Join(root, "dev", "playground", "sample"))
	commit, err := repository.Commit(ctx, repo.Change{Message: "Version 1.0", Replace: true, Tree: tree})
	if err != nil {
		return err
	}
	if _, err := s.hub.GitRepos.Create(ctx, s.gitRepo()); err != nil {
		return fmt.Errorf("creating GitRepo: %w", err)
	}
	return s.await(ctx,
		s.commitRead(commit),
		s.bundlesMade(),
		s.deploymentsMade(),
		s.workloadsRun(development, "1.0"),
		s.workloadsRun(production, "1.0"),
		s.gitRepoReady(commit, 6),
	)
}

func (s *story) gitRepo() *fleet.GitRepo {
	target := func(env string) fleet.GitTarget {
		return fleet.GitTarget{Name: env, ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": env}}}
	}
	return &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: names.WorkspaceDefault, Name: name},
		Spec: fleet.GitRepoSpec{
			Repo: s.GitURL() + "/" + name + ".git", Branch: repo.DefaultBranch, Paths: apps(),
			PollingInterval: &metav1.Duration{Duration: time.Second},
			Targets:         []fleet.GitTarget{target("dev"), target("prod")},
		},
	}
}

// removeLeftovers deletes the GitRepo of a demo that was interrupted on an installation that stayed up.
func (s *story) removeLeftovers(ctx context.Context) error {
	if err := s.deleteGitRepo(ctx); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	s.printer.Println("  An earlier demo was interrupted; what it left goes first:")
	return s.await(ctx, s.gitRepoGone(), s.bundlesGone(), s.deploymentsGone(development), s.deploymentsGone(production))
}

// commit changes one of the three folders and waits until that, and nothing else, is rolled out.
func (s *story) commit(ctx context.Context) error {
	before, err := s.releases(ctx)
	if err != nil {
		return err
	}
	repository := s.Repository(name)
	const path = "web/deployment.yaml"
	root, err := binaries.SourceRoot()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(filepath.Join(root, "dev", "playground", "sample", path))
	if err != nil {
		return fmt.Errorf("reading the sample: %w", err)
	}
	newer := strings.Replace(string(content), "shop/web:1.0", "shop/web:1.1", 1)
	commit, err := repository.Commit(ctx, repo.Change{Message: "Version 1.1", Write: map[string]string{path: newer}})
	if err != nil {
		return err
	}
	if err := s.await(ctx,
		s.commitRead(commit),
		s.workloadsRun(development, "1.1"),
		s.workloadsRun(production, "1.1"),
		s.gitRepoReady(commit, 6),
	); err != nil {
		return err
	}
	after, err := s.releases(ctx)
	if err != nil {
		return err
	}
	for key, release := range before {
		touched := after[key] != release
		if isWeb := strings.HasSuffix(key, "-web"); touched != isWeb {
			return fmt.Errorf("release of %s: it was %s and is %s now; only web should have changed", key, release, after[key])
		}
	}
	s.printer.Println("    api and cache were not touched: their releases are still those of the first commit")
	return nil
}

// untarget takes a target out of the GitRepo: its workloads must leave their cluster, and no other.
func (s *story) untarget(ctx context.Context) error {
	staying, err := s.workloads(ctx, development)
	if err != nil {
		return err
	}
	var commit string
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		before, err := s.hub.GitRepos.Get(ctx, names.WorkspaceDefault, name)
		if err != nil {
			return err
		}
		after := before.DeepCopy()
		after.Spec.Targets = slices.DeleteFunc(after.Spec.Targets, func(t fleet.GitTarget) bool { return t.Name == "prod" })
		commit = before.Status.Commit
		_, err = s.hub.GitRepos.Patch(ctx, before, after)
		return err
	})
	if err != nil {
		return fmt.Errorf("editing GitRepo: %w", err)
	}
	if err := s.await(ctx,
		s.workloadsGone(production),
		s.deploymentsGone(production),
		s.gitRepoReady(commit, 3),
	); err != nil {
		return err
	}
	now, err := s.workloads(ctx, development)
	if err != nil {
		return err
	}
	for _, app := range apps() {
		if now[app] == nil || staying[app] == nil || now[app].UID != staying[app].UID {
			return fmt.Errorf("workload %s of %s: it matches still, but was removed or made anew", app, development)
		}
	}
	s.printer.Println("    " + development + " still matches: its workloads were not touched")
	return nil
}

// remove deletes the GitRepo: everything that it led to must go.
func (s *story) remove(ctx context.Context) error {
	if err := s.deleteGitRepo(ctx); err != nil {
		return err
	}
	return s.await(ctx,
		s.gitRepoGone(),
		s.bundlesGone(),
		s.workloadsGone(development),
		s.deploymentsGone(development),
		s.releasesGone(),
	)
}

func (s *story) deleteGitRepo(ctx context.Context) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		gitRepo, err := s.hub.GitRepos.Get(ctx, names.WorkspaceDefault, name)
		if err != nil {
			return err
		}
		return s.hub.GitRepos.Delete(ctx, gitRepo)
	})
	if err != nil {
		return fmt.Errorf("deleting GitRepo: %w", err)
	}
	return nil
}
