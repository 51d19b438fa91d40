package clusters

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/delivery"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// agentManifests are the objects that make up an agent downstream.
type agentManifests struct {
	// Namespace of the agent. It is made where it is missing and left alone otherwise.
	Namespace *corev1.Namespace
	// First lists what goes before anything comes.
	First []runtime.Object
	// Apply lists what is applied, in order.
	Apply []runtime.Object
	// Remove lists what the cluster's settings no longer ask for.
	Remove []runtime.Object
}

// fingerprint returns a digest of the manifests and of where they go.
func (m agentManifests) fingerprint(server string) (string, error) {
	digest, err := kube.Fingerprint(slices.Concat([]runtime.Object{m.Namespace}, m.Apply, m.Remove)...)
	if err != nil {
		return "", err
	}
	return digestOf(server + " " + digest), nil
}

// manifestsOf returns the manifests of the agent of a cluster. The kubeconfig is what it reaches the hub with; before is the
// namespace where it was installed last, if known.
func manifestsOf(cluster *fleet.Cluster, image string, kubeconfig []byte, before string) (agentManifests, *problem) {
	namespace := agentNamespace(cluster)
	if !names.IsLabel(namespace) {
		return agentManifests{}, &problem{ReasonSpecInvalid, fmt.Sprintf("spec.agentNamespace %q is no name for a namespace", namespace)}
	}
	settings, err := delivery.ObjectsOf(cluster, image, namespace)
	if err != nil {
		return agentManifests{}, problemOf(err)
	}
	agent := metav1.ObjectMeta{Name: names.Agent, Namespace: namespace, Labels: delivery.Labels()}
	role := metav1.ObjectMeta{Name: names.AgentRole(namespace), Labels: delivery.Labels()}
	m := agentManifests{
		Namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		First:     moved(before, namespace),
		Apply: slices.Concat([]runtime.Object{
			&corev1.ServiceAccount{ObjectMeta: agent},
			// The agent installs whatever bundles hold, so it may do whatever there is to do.
			&rbacv1.ClusterRole{ObjectMeta: role, Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}},
				{NonResourceURLs: []string{"*"}, Verbs: []string{"*"}},
			}},
			&rbacv1.ClusterRoleBinding{
				ObjectMeta: role, RoleRef: clusterRole(role.Name),
				Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: names.Agent}},
			},
			&corev1.Secret{ObjectMeta: agent, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{
				names.KeyKubeconfig:          kubeconfig,
				names.KeyDeploymentNamespace: []byte(names.ClusterNamespace(cluster.Namespace, cluster.Name)),
				names.KeyClusterNamespace:    []byte(cluster.Namespace),
				names.KeyClusterName:         []byte(cluster.Name),
			}},
		}, settings.Apply),
		Remove: settings.Remove,
	}
	return m, nil
}

// moved returns what of an agent in another namespace has to go before the new one comes: two agents would install the
// same releases.
func moved(from, to string) []runtime.Object {
	if from == "" || from == to {
		return nil
	}
	return []runtime.Object{&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: from, Name: names.Agent}}}
}

// problemOf returns what is wrong with a setting as the problem that a user is told of.
func problemOf(err error) *problem {
	var invalid *delivery.InvalidError
	if errors.As(err, &invalid) {
		return &problem{ReasonSpecInvalid, invalid.Message}
	}
	return &problem{ReasonSpecInvalid, err.Error()}
}

func agentNamespace(cluster *fleet.Cluster) string {
	return cmp.Or(cluster.Spec.AgentNamespace, names.NamespaceSystem)
}
