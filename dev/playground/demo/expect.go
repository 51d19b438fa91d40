package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// namespace is where the sample's workloads run.
const namespace = "shop"

func ours() labels.Selector { return labels.SelectorFromSet(labels.Set{names.LabelRepoName: name}) }

func (s *story) commitRead(commit string) expectation {
	return expectation{"commit read", func(ctx context.Context) (outcome, error) {
		gitRepo, err := s.hub.GitRepos.Get(ctx, names.WorkspaceDefault, name)
		switch {
		case err != nil:
			return outcome{}, err
		case gitRepo.Status.Commit != commit:
			return missing("the GitRepo is at commit %q, want %s; its conditions are %s", gitRepo.Status.Commit, commit, describe(gitRepo.Status.Conditions))
		default:
			return met("%.8s", commit)
		}
	}}
}

func (s *story) bundlesMade() expectation {
	return expectation{"bundles", func(ctx context.Context) (outcome, error) {
		list, err := s.hub.Bundles.List(ctx, names.WorkspaceDefault, ours())
		if err != nil {
			return outcome{}, err
		}
		var found []string
		for _, bundle := range list.Items {
			found = append(found, bundle.Name)
		}
		slices.Sort(found)
		if len(found) != len(apps()) {
			return missing("there are %d bundles %v, want one for each of %v", len(found), found, apps())
		}
		return met("%s", strings.Join(found, ", "))
	}}
}

func (s *story) deploymentsMade() expectation {
	return expectation{"deployments", func(ctx context.Context) (outcome, error) {
		count := map[string]int{}
		for _, cluster := range []string{development, production} {
			list, err := s.hub.BundleDeployments.List(ctx, clusterNamespace(cluster), ours())
			if err != nil {
				return outcome{}, err
			}
			count[cluster] = len(list.Items)
		}
		if count[development] != len(apps()) || count[production] != len(apps()) {
			return missing("there are %v, want %d for each cluster", count, len(apps()))
		}
		return met("%d for each of 2 clusters", len(apps()))
	}}
}

func (s *story) gitRepoReady(commit string, desired int) expectation {
	return expectation{"GitRepo says Ready", func(ctx context.Context) (outcome, error) {
		gitRepo, err := s.hub.GitRepos.Get(ctx, names.WorkspaceDefault, name)
		if err != nil {
			return outcome{}, err
		}
		summary := gitRepo.Status.Summary
		if !isReady(gitRepo.Status.Conditions) || gitRepo.Status.Commit != commit || summary.DesiredReady != desired || summary.Ready != desired {
			return missing("it counts %d of %d ready, want %d, at commit %q; its conditions are %s",
				summary.Ready, summary.DesiredReady, desired, gitRepo.Status.Commit, describe(gitRepo.Status.Conditions))
		}
		return met("%d/%d", summary.Ready, summary.DesiredReady)
	}}
}

// workloadsRun expects every app on a cluster, available with that cluster's replicas, and web in a version.
func (s *story) workloadsRun(cluster, version string) expectation {
	return expectation{"workloads of " + cluster, func(ctx context.Context) (outcome, error) {
		found, err := s.workloads(ctx, cluster)
		if err != nil {
			return outcome{}, err
		}
		var remarks []string
		for _, app := range apps() {
			workload, want := found[app], replicas()[cluster][app]
			if workload == nil {
				return missing("there is no Deployment %s", app)
			}
			image := workload.Spec.Template.Spec.Containers[0].Image
			if app == "web" && !strings.HasSuffix(image, ":"+version) {
				return missing("Deployment web runs %s, want version %s", image, version)
			}
			status := workload.Status
			if *workload.Spec.Replicas != want || status.ObservedGeneration != workload.Generation ||
				status.UpdatedReplicas != want || status.AvailableReplicas != want {
				return missing("of Deployment %s %d replicas are available and %d updated, want %d", app, status.AvailableReplicas, status.UpdatedReplicas, want)
			}
			remarks = append(remarks, fmt.Sprintf("%s %d/%d", app, status.AvailableReplicas, want))
		}
		return met("%s", strings.Join(remarks, ", "))
	}}
}

// workloads returns the sample's Deployments on a cluster, by name.
func (s *story) workloads(ctx context.Context, cluster string) (map[string]*appsv1.Deployment, error) {
	list, err := s.clusters[cluster].AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing Deployments of %s: %w", cluster, err)
	}
	found := map[string]*appsv1.Deployment{}
	for i := range list.Items {
		found[list.Items[i].Name] = &list.Items[i]
	}
	return found, nil
}

func (s *story) workloadsGone(cluster string) expectation {
	return expectation{"workloads leave", func(ctx context.Context) (outcome, error) {
		found, err := s.workloads(ctx, cluster)
		if err != nil {
			return outcome{}, err
		}
		if len(found) != 0 {
			return missing("there are still Deployments %v on %s", slices.Sorted(maps.Keys(found)), cluster)
		}
		return met("%s runs nothing of it any more", cluster)
	}}
}

// deploymentsGone expects the deployments of a cluster to be gone from the hub, and none of them before its
// workload has left the cluster.
func (s *story) deploymentsGone(cluster string) expectation {
	return expectation{"deployments go", func(ctx context.Context) (outcome, error) {
		list, err := s.hub.BundleDeployments.List(ctx, clusterNamespace(cluster), ours())
		if err != nil {
			return outcome{}, err
		}
		// Read after the deployments: what is gone there must not be here.
		found, err := s.workloads(ctx, cluster)
		if err != nil {
			return outcome{}, err
		}
		there := map[string]bool{}
		for _, deployment := range list.Items {
			there[deployment.Name] = true
		}
		for app := range found {
			if !there[name+"-"+app] {
				return violated("the deployment of %s is gone from the hub, but %s still runs it", app, cluster)
			}
		}
		if len(there) != 0 {
			return missing("the hub still has %v", slices.Sorted(maps.Keys(there)))
		}
		return met("after their workloads")
	}}
}

func (s *story) bundlesGone() expectation {
	return expectation{"bundles go", func(ctx context.Context) (outcome, error) {
		list, err := s.hub.Bundles.List(ctx, names.WorkspaceDefault, ours())
		if err != nil {
			return outcome{}, err
		}
		if len(list.Items) != 0 {
			return missing("there are still %d bundles", len(list.Items))
		}
		return met("")
	}}
}

func (s *story) gitRepoGone() expectation {
	return expectation{"GitRepo goes", func(ctx context.Context) (outcome, error) {
		gitRepo, err := s.hub.GitRepos.Get(ctx, names.WorkspaceDefault, name)
		if apierrors.IsNotFound(err) {
			return met("")
		}
		if err != nil {
			return outcome{}, err
		}
		return missing("it is still there, with finalizers %v", gitRepo.Finalizers)
	}}
}

// releasesGone expects that Helm remembers none of the sample's releases on any cluster.
func (s *story) releasesGone() expectation {
	return expectation{"Helm releases go", func(ctx context.Context) (outcome, error) {
		for cluster, client := range s.clusters {
			list, err := client.CoreV1().Secrets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
			if err != nil {
				return outcome{}, err
			}
			for _, secret := range list.Items {
				if strings.HasPrefix(secret.Labels["name"], name+"-") {
					return missing("%s still has release %s", cluster, secret.Labels["name"])
				}
			}
		}
		return met("")
	}}
}

// releases returns what each deployment says it runs, by cluster and bundle.
func (s *story) releases(ctx context.Context) (map[string]string, error) {
	found := map[string]string{}
	for _, cluster := range []string{development, production} {
		list, err := s.hub.BundleDeployments.List(ctx, clusterNamespace(cluster), ours())
		if err != nil {
			return nil, fmt.Errorf("reading deployments of %s: %w", cluster, err)
		}
		for _, deployment := range list.Items {
			found[cluster+"/"+deployment.Name] = deployment.Status.Release
		}
	}
	return found, nil
}

func clusterNamespace(cluster string) string {
	return names.ClusterNamespace(names.WorkspaceDefault, cluster)
}

func isReady(conditions []fleet.Condition) bool {
	return slices.ContainsFunc(conditions, func(c fleet.Condition) bool {
		return c.Type == string(fleet.ConditionReady) && c.Status == "True"
	})
}

// describe writes conditions in one line.
func describe(conditions []fleet.Condition) string {
	if len(conditions) == 0 {
		return "not there"
	}
	var parts []string
	for _, c := range conditions {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s=%s %s %s", c.Type, c.Status, c.Reason, c.Message)))
	}
	return strings.Join(parts, "; ")
}
