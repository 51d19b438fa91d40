package clusters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestClusterGetsItsPlace(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, namespace := registered(t, workspace, "c1")

	cluster := env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		if c.Status.Namespace != namespace {
			return fmt.Errorf("status.namespace is %q", c.Status.Namespace)
		}
		return nil
	})
	if !slices.Contains(cluster.Finalizers, names.FinalizerCluster) {
		t.Errorf("finalizers %v", cluster.Finalizers)
	}
	if cluster.Status.Display.State != "WaitCheckIn" {
		t.Errorf("state %q", cluster.Status.Display.State)
	}
	ns, err := env.Namespaces.Get(t.Context(), "", namespace)
	if err != nil {
		t.Fatal(err)
	}
	if ns.Labels[names.LabelManaged] != "true" || ns.Annotations[names.AnnotationCluster] != "c1" || ns.Annotations[names.AnnotationClusterNamespace] != workspace {
		t.Errorf("labels %v, annotations %v", ns.Labels, ns.Annotations)
	}
	hub, err := env.Kubernetes.CoreV1().ConfigMaps(namespace).Get(t.Context(), names.ConfigMapHub, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	system, err := env.Namespaces.Get(t.Context(), "", metav1.NamespaceSystem)
	if err != nil {
		t.Fatal(err)
	}
	if hub.Data[names.KeyHubID] != string(system.UID) {
		t.Errorf("the hub is %q, want %q", hub.Data[names.KeyHubID], system.UID)
	}
}

func TestNamespaceOfSomebodyElseIsLeftAlone(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	namespace := names.ClusterNamespace(workspace, "c1")
	theirs := env.Namespaces.Make(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"team": "a"}}})

	key := kube.Key{Namespace: workspace, Name: "c1"}
	env.Clusters.Make(t, harness.NewCluster(workspace, "c1", nil))
	cluster := env.Clusters.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionProcessed, Status: metav1.ConditionFalse, Reason: "NamespaceConflict", Message: namespace,
	})
	if cluster.Status.Namespace != "" {
		t.Errorf("bundles would be deployed into %s", cluster.Status.Namespace)
	}
	env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionStalled, Status: metav1.ConditionTrue})
	now, err := env.Namespaces.Get(t.Context(), "", namespace)
	if err != nil {
		t.Fatal(err)
	}
	if now.ResourceVersion != theirs.ResourceVersion {
		t.Errorf("the namespace was changed: %v, %v", now.Labels, now.Annotations)
	}

	// The cluster recovers by itself once the namespace is gone.
	env.Namespaces.Remove(t, kube.Key{Name: namespace})
	env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionProcessed, Status: metav1.ConditionTrue})
}

func TestNamespaceThatGoesIsMadeAnew(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, namespace := registered(t, workspace, "c1")
	before, err := env.Namespaces.Get(t.Context(), "", namespace)
	if err != nil {
		t.Fatal(err)
	}
	env.Namespaces.Remove(t, kube.Key{Name: namespace})
	env.Namespaces.Await(t, kube.Key{Name: namespace}, func(n *corev1.Namespace) error {
		if n.UID == before.UID || n.Annotations[names.AnnotationAccess] == "" {
			return errors.New("it is still the one of before, or without access")
		}
		return nil
	})
	env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionProcessed, Status: metav1.ConditionTrue})
	if _, err := env.Kubernetes.CoreV1().ServiceAccounts(namespace).Get(t.Context(), names.Agent, metav1.GetOptions{}); err != nil {
		t.Errorf("the agent has no identity: %v", err)
	}
}

func TestNothingIsLeftOfACluster(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, agentNamespace := imported(t, workspace, "c1")
	namespace := names.ClusterNamespace(workspace, "c1")
	agent := agentOf(t, namespace)
	if _, err := agent.BundleDeployments.List(t.Context(), namespace, nil); err != nil {
		t.Fatalf("the agent has no access: %v", err)
	}

	env.Clusters.Remove(t, key)
	env.Clusters.AwaitGone(t, key)
	env.Namespaces.AwaitGone(t, kube.Key{Name: namespace})
	harness.Eventually(t, "the agent's token opens nothing", func(ctx context.Context) error {
		if _, err := agent.BundleDeployments.List(ctx, namespace, nil); !apierrors.IsUnauthorized(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	rbac := env.Kubernetes.RbacV1()
	harness.Eventually(t, "the bindings outside of the namespace are gone", func(ctx context.Context) error {
		_, err1 := rbac.ClusterRoleBindings().Get(ctx, names.AgentContents(namespace), metav1.GetOptions{})
		_, err2 := rbac.RoleBindings(workspace).Get(ctx, names.AgentCluster("c1"), metav1.GetOptions{})
		_, err3 := rbac.Roles(workspace).Get(ctx, names.AgentCluster("c1"), metav1.GetOptions{})
		for _, err := range []error{err1, err2, err3} {
			if !apierrors.IsNotFound(err) {
				return fmt.Errorf("got %w", err)
			}
		}
		return nil
	})
	// Unregistering leaves everything downstream where it is.
	if _, err := env.Kubernetes.AppsV1().Deployments(agentNamespace).Get(t.Context(), names.Agent, metav1.GetOptions{}); err != nil {
		t.Errorf("the agent downstream: %v", err)
	}
}
