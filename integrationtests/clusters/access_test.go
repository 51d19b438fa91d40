package clusters

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// What an agent needs works with its own token, and everything else is refused by the API server.
func TestAgentMayDoItsWorkAndNothingElse(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, _ := imported(t, workspace, "mine")
	other, theirs := registered(t, workspace, "other")
	mine := names.ClusterNamespace(workspace, "mine")
	deployment := env.BundleDeployments.Make(t, &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: "web"}})
	env.BundleDeployments.Make(t, &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{Namespace: theirs, Name: "web"}})
	for _, ns := range []string{mine, theirs, workspace} {
		env.Secrets.Make(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web"}})
	}
	content := env.Contents.Make(t, &fleet.Content{ObjectMeta: metav1.ObjectMeta{GenerateName: "s-test-"}})
	agent := agentOf(t, mine)
	k8s := agent.Kubernetes
	crds, err := apiextensions.NewForConfig(agent.Config)
	if err != nil {
		t.Fatal(err)
	}
	// The API server heeds a policy some moments after it was made, once in the life of a hub.
	harness.Eventually(t, "the policy is heeded", func(ctx context.Context) error {
		if err := claim(ctx, agent, key, readyForEver); !apierrors.IsForbidden(err) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: names.LeaseAgent}}
	get := metav1.GetOptions{}

	for name, try := range map[string]func(context.Context) error{
		"list its deployments":   func(ctx context.Context) error { _, err := agent.BundleDeployments.List(ctx, mine, nil); return err },
		"read a deployment":      func(ctx context.Context) error { _, err := agent.BundleDeployments.Get(ctx, mine, "web"); return err },
		"report on a deployment": func(ctx context.Context) error { return reportOn(ctx, agent, deployment) },
		"read a Secret":          func(ctx context.Context) error { _, err := agent.Secrets.Get(ctx, mine, "web"); return err },
		"read the hub's identity": func(ctx context.Context) error {
			_, err := k8s.CoreV1().ConfigMaps(mine).Get(ctx, names.ConfigMapHub, get)
			return err
		},
		"read a content by name": func(ctx context.Context) error { _, err := agent.Contents.Get(ctx, "", content.Name); return err },
		"read its cluster":       func(ctx context.Context) error { _, err := agent.Clusters.Get(ctx, workspace, "mine"); return err },
		"announce itself":        func(ctx context.Context) error { return announce(ctx, agent, key) },
		"read its namespace":     func(ctx context.Context) error { _, err := agent.Namespaces.Get(ctx, "", mine); return err },
		"see that deployments are served": func(ctx context.Context) error {
			_, err := crds.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, "bundledeployments.fleet.cattle.io", get)
			return err
		},
		"keep its heartbeat": func(ctx context.Context) error {
			made, err := agent.Leases.Create(ctx, lease)
			if err != nil {
				return err
			}
			now := metav1.NowMicro()
			beat := made.DeepCopy()
			beat.Spec.RenewTime = &now
			_, err = agent.Leases.Patch(ctx, made, beat)
			return err
		},
	} {
		if err := try(t.Context()); err != nil {
			t.Errorf("an agent cannot %s: %v", name, err)
		}
	}

	for name, try := range map[string]func(context.Context) error{
		"list deployments of others": func(ctx context.Context) error { _, err := agent.BundleDeployments.List(ctx, theirs, nil); return err },
		"list all deployments":       func(ctx context.Context) error { _, err := agent.BundleDeployments.List(ctx, "", nil); return err },
		"change a deployment":        func(ctx context.Context) error { return relabel(ctx, agent, deployment) },
		"delete a deployment":        func(ctx context.Context) error { return agent.BundleDeployments.Delete(ctx, deployment) },
		"make a deployment":          func(ctx context.Context) error { return makeDeployment(ctx, agent, mine) },
		"list Secrets":               func(ctx context.Context) error { _, err := agent.Secrets.List(ctx, mine, nil); return err },
		"read a Secret of others":    func(ctx context.Context) error { _, err := agent.Secrets.Get(ctx, theirs, "web"); return err },
		"read a workspace's Secret":  func(ctx context.Context) error { _, err := agent.Secrets.Get(ctx, workspace, "web"); return err },
		"list contents":              func(ctx context.Context) error { _, err := agent.Contents.List(ctx, "", nil); return err },
		"list clusters":              func(ctx context.Context) error { _, err := agent.Clusters.List(ctx, workspace, nil); return err },
		"read another cluster":       func(ctx context.Context) error { _, err := agent.Clusters.Get(ctx, workspace, other.Name); return err },
		"announce another cluster":   func(ctx context.Context) error { return announce(ctx, agent, other) },
		"label its cluster":          func(ctx context.Context) error { return relabelCluster(ctx, agent, key) },
		"claim that it is ready":     func(ctx context.Context) error { return claim(ctx, agent, key, readyForEver) },
		"move its namespace": func(ctx context.Context) error {
			return claim(ctx, agent, key, func(s *fleet.ClusterStatus) { s.Namespace = theirs })
		},
		"take a field away": func(ctx context.Context) error {
			return claim(ctx, agent, key, func(s *fleet.ClusterStatus) { s.Namespace = "" })
		},
		"list namespaces":               func(ctx context.Context) error { _, err := agent.Namespaces.List(ctx, "", nil); return err },
		"read a namespace of others":    func(ctx context.Context) error { _, err := agent.Namespaces.Get(ctx, "", theirs); return err },
		"read bundles":                  func(ctx context.Context) error { _, err := agent.Bundles.List(ctx, workspace, nil); return err },
		"read repositories":             func(ctx context.Context) error { _, err := agent.GitRepos.List(ctx, workspace, nil); return err },
		"watch the heartbeat of others": func(ctx context.Context) error { _, err := agent.Leases.Get(ctx, theirs, names.LeaseAgent); return err },
		"read another definition": func(ctx context.Context) error {
			_, err := crds.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, "clusters.fleet.cattle.io", get)
			return err
		},
		"mint a token": func(ctx context.Context) error {
			_, err := k8s.CoreV1().ServiceAccounts(mine).CreateToken(ctx, names.Agent, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		},
		"write an event": func(ctx context.Context) error {
			_, err := k8s.CoreV1().Events(mine).Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: "e"}}, metav1.CreateOptions{})
			return err
		},
	} {
		if err := try(t.Context()); !apierrors.IsForbidden(err) {
			t.Errorf("an agent can %s, or fails otherwise: %v", name, err)
		}
	}
}

func reportOn(ctx context.Context, agent *kube.Hub, deployment *fleet.BundleDeployment) error {
	after := deployment.DeepCopy()
	after.Status.Ready = true
	_, err := agent.BundleDeployments.PatchStatus(ctx, deployment, after)
	return err
}

func relabel(ctx context.Context, agent *kube.Hub, deployment *fleet.BundleDeployment) error {
	after := deployment.DeepCopy()
	after.Labels = map[string]string{"a": "b"}
	_, err := agent.BundleDeployments.Patch(ctx, deployment, after)
	return err
}

func makeDeployment(ctx context.Context, agent *kube.Hub, namespace string) error {
	_, err := agent.BundleDeployments.Create(ctx, &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"}})
	return err
}

func relabelCluster(ctx context.Context, agent *kube.Hub, key kube.Key) error {
	before, err := env.Clusters.Get(ctx, key.Namespace, key.Name)
	if err != nil {
		return err
	}
	after := before.DeepCopy()
	after.Labels = map[string]string{"env": "prod"}
	_, err = agent.Clusters.Patch(ctx, before, after)
	return err
}

func announce(ctx context.Context, agent *kube.Hub, key kube.Key) error {
	return claim(ctx, agent, key, func(s *fleet.ClusterStatus) {
		s.Agent = fleet.AgentStatus{LastSeen: metav1.NewTime(time.Now()), Namespace: "cattle-fleet-system"}
	})
}

func readyForEver(s *fleet.ClusterStatus) {
	s.Conditions = []fleet.Condition{{Type: fleet.ConditionReady, Status: metav1.ConditionTrue}}
}

// claim writes the status of a cluster as the agent would, again if the manager was faster.
func claim(ctx context.Context, agent *kube.Hub, key kube.Key, edit func(*fleet.ClusterStatus)) error {
	for {
		before, err := env.Clusters.Get(ctx, key.Namespace, key.Name)
		if err != nil {
			return err
		}
		after := before.DeepCopy()
		edit(&after.Status)
		written, err := agent.Clusters.PatchStatus(ctx, before, after)
		if err == nil && !written {
			return errors.New("nothing to write")
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}
