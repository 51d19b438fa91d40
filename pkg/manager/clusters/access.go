package clusters

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// clusterNamespace returns the namespace on the hub for a cluster.
func clusterNamespace(cluster *fleet.Cluster) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   names.ClusterNamespace(cluster.Namespace, cluster.Name),
		Labels: managed(),
		Annotations: map[string]string{
			names.AnnotationCluster:          cluster.Name,
			names.AnnotationClusterNamespace: cluster.Namespace,
		},
	}}
}

// belongsTo says whether the namespace was made for the cluster.
func belongsTo(namespace *corev1.Namespace, cluster *fleet.Cluster) bool {
	return namespace.Labels[names.LabelManaged] == "true" &&
		namespace.Annotations[names.AnnotationCluster] == cluster.Name &&
		namespace.Annotations[names.AnnotationClusterNamespace] == cluster.Namespace
}

// agentAccess returns everything that the agent of a cluster needs on the hub, apart from sharedAccess: its identity,
// and what binds it to its own namespace and its own Cluster. What lies outside of the namespace goes with the
// namespace or with the Cluster, by its owner reference.
func agentAccess(cluster *fleet.Cluster, namespace *corev1.Namespace, hubID string) []runtime.Object {
	agent := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace.Name, Name: names.Agent}}
	own := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: namespace.Name, Labels: managed()}
	}
	workspace := metav1.ObjectMeta{
		Name: names.AgentCluster(cluster.Name), Namespace: cluster.Namespace, Labels: managed(),
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: fleet.SchemeGroupVersion.String(), Kind: "Cluster", Name: cluster.Name, UID: cluster.UID,
		}},
	}
	contents := metav1.ObjectMeta{
		Name: names.AgentContents(namespace.Name), Labels: managed(),
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Namespace", Name: namespace.Name, UID: namespace.UID,
		}},
	}
	automount := false
	return []runtime.Object{
		&corev1.ConfigMap{ObjectMeta: own(names.ConfigMapHub), Data: map[string]string{names.KeyHubID: hubID}},
		&corev1.ServiceAccount{ObjectMeta: own(names.Agent), AutomountServiceAccountToken: &automount},
		&rbacv1.RoleBinding{ObjectMeta: own(names.Agent), Subjects: agent, RoleRef: clusterRole(names.ClusterRoleDeployments)},
		&rbacv1.ClusterRoleBinding{ObjectMeta: contents, Subjects: agent, RoleRef: clusterRole(names.ClusterRoleContents)},
		&rbacv1.Role{ObjectMeta: workspace, Rules: []rbacv1.PolicyRule{
			only(cluster.Name, rule(fleet.GroupName, "clusters", "get")),
			only(cluster.Name, rule(fleet.GroupName, "clusters/status", "patch")),
		}},
		&rbacv1.RoleBinding{ObjectMeta: workspace, Subjects: agent, RoleRef: rbacv1.RoleRef{
			APIGroup: rbacv1.GroupName, Kind: "Role", Name: workspace.Name,
		}},
	}
}

// sharedAccess returns the roles that all agents have. Neither gives anything by itself: agents are bound to the first
// in their own namespace only, and the second lets them read what they can name.
func sharedAccess() []runtime.Object {
	return []runtime.Object{
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: names.ClusterRoleDeployments, Labels: managed()},
			Rules: []rbacv1.PolicyRule{
				rule(fleet.GroupName, "bundledeployments", "get", "list", "watch"),
				rule(fleet.GroupName, "bundledeployments/status", "patch", "update"),
				// The namespace holds the Secrets of this cluster only. No list: an agent knows the names it needs.
				rule("", "secrets", "get"),
				only(names.ConfigMapHub, rule("", "configmaps", "get")),
				// Bound in a namespace, this is that namespace alone.
				rule("", "namespaces", "get"),
				only(names.LeaseAgent, rule("coordination.k8s.io", "leases", "get", "update", "patch")),
				// A create cannot be limited to a name.
				rule("coordination.k8s.io", "leases", "create"),
			},
		},
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: names.ClusterRoleContents, Labels: managed()},
			Rules: []rbacv1.PolicyRule{
				rule(fleet.GroupName, "contents", "get"),
				only(fleet.GroupResource("bundledeployments").String(), rule("apiextensions.k8s.io", "customresourcedefinitions", "get")),
			},
		},
	}
}

func managed() map[string]string {
	return map[string]string{names.LabelManaged: "true"}
}

func clusterRole(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

func rule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// only limits a rule to the object of one name.
func only(name string, r rbacv1.PolicyRule) rbacv1.PolicyRule {
	r.ResourceNames = []string{name}
	return r
}
