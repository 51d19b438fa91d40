package clusters

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// newCluster returns a Cluster; options change it.
func newCluster(options ...func(*fleet.Cluster)) *fleet.Cluster {
	c := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "c1", UID: "cluster-uid"}}
	for _, option := range options {
		option(c)
	}
	return c
}

func TestBelongsTo(t *testing.T) {
	cluster := newCluster()
	tests := []struct {
		name   string
		change func(*corev1.Namespace)
		want   bool
	}{
		{"as it was made", func(*corev1.Namespace) {}, true},
		{"with more labels", func(n *corev1.Namespace) { n.Labels["team"] = "a" }, true},
		{"without our label", func(n *corev1.Namespace) { delete(n.Labels, names.LabelManaged) }, false},
		{"of another cluster", func(n *corev1.Namespace) { n.Annotations[names.AnnotationCluster] = "c2" }, false},
		{"of another workspace", func(n *corev1.Namespace) { n.Annotations[names.AnnotationClusterNamespace] = "other" }, false},
		{"of somebody else", func(n *corev1.Namespace) { n.Labels, n.Annotations = nil, nil }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			namespace := clusterNamespace(cluster)
			tt.change(namespace)
			if got := belongsTo(namespace, cluster); got != tt.want {
				t.Errorf("belongsTo = %v", got)
			}
		})
	}
}

// What an agent may do, in full. A line that is added here is a right that a stolen token has.
func TestAgentMayDoThisAndNothingElse(t *testing.T) {
	want := []string{
		"cluster-fleet-default-c1-…: bundledeployments get,list,watch",
		"cluster-fleet-default-c1-…: bundledeployments/status patch,update",
		"cluster-fleet-default-c1-…: configmaps[flotilla-hub] get",
		"cluster-fleet-default-c1-…: leases create",
		"cluster-fleet-default-c1-…: leases[fleet-agent] get,update,patch",
		"cluster-fleet-default-c1-…: namespaces get",
		"cluster-fleet-default-c1-…: secrets get",
		"everywhere: contents get",
		"everywhere: customresourcedefinitions[bundledeployments.fleet.cattle.io] get",
		"fleet-default: clusters/status[c1] patch",
		"fleet-default: clusters[c1] get",
	}
	cluster := newCluster()
	namespace := clusterNamespace(cluster)
	got := rights(append(sharedAccess(), agentAccess(cluster, namespace, "hub")...), namespace.Name)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rights of an agent (-want +got):\n%s", diff)
	}
}

// rights evaluates role bindings the way the API server does: namespaced ones hold in their namespace.
func rights(objects []runtime.Object, clusterNamespace string) []string {
	rules := map[rbacv1.RoleRef][]rbacv1.PolicyRule{}
	for _, object := range objects {
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			rules[rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: o.Name}] = o.Rules
		case *rbacv1.Role:
			rules[rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: o.Name}] = o.Rules
		}
	}
	agent := rbacv1.Subject{Kind: "ServiceAccount", Namespace: clusterNamespace, Name: names.Agent}
	var found []string
	add := func(where string, subjects []rbacv1.Subject, ref rbacv1.RoleRef) {
		if !slices.Equal(subjects, []rbacv1.Subject{agent}) {
			found = append(found, "somebody else is bound to "+ref.Name)
		}
		for _, r := range rules[ref] {
			found = append(found, where+": "+describeRule(r))
		}
	}
	for _, object := range objects {
		switch o := object.(type) {
		case *rbacv1.RoleBinding:
			where := o.Namespace
			if where == clusterNamespace {
				where = "cluster-fleet-default-c1-…"
			}
			add(where, o.Subjects, o.RoleRef)
		case *rbacv1.ClusterRoleBinding:
			add("everywhere", o.Subjects, o.RoleRef)
		}
	}
	slices.Sort(found)
	return found
}

func describeRule(r rbacv1.PolicyRule) string {
	text := r.Resources[0]
	for _, name := range r.ResourceNames {
		text += "[" + name + "]"
	}
	text += " "
	for i, verb := range r.Verbs {
		if i > 0 {
			text += ","
		}
		text += verb
	}
	return text
}

// What is made for a cluster outside of its namespace must go with the namespace or the cluster, as nobody deletes it.
func TestAccessLeavesNothingBehind(t *testing.T) {
	cluster := newCluster()
	namespace := clusterNamespace(cluster)
	namespace.UID = "namespace-uid"
	for _, object := range agentAccess(cluster, namespace, "hub") {
		meta := object.(metav1.Object)
		if meta.GetLabels()[names.LabelManaged] != "true" {
			t.Errorf("%T %s is not marked as ours", object, meta.GetName())
		}
		if meta.GetNamespace() == namespace.Name {
			continue
		}
		owners := meta.GetOwnerReferences()
		switch {
		case len(owners) != 1:
			t.Errorf("%T %s has %d owners", object, meta.GetName(), len(owners))
		case meta.GetNamespace() == "" && (owners[0].Kind != "Namespace" || owners[0].UID != "namespace-uid"):
			t.Errorf("%T %s goes with %v", object, meta.GetName(), owners[0])
		case meta.GetNamespace() != "" && (owners[0].Kind != "Cluster" || owners[0].UID != "cluster-uid" || meta.GetNamespace() != cluster.Namespace):
			t.Errorf("%T %s/%s goes with %v", object, meta.GetNamespace(), meta.GetName(), owners[0])
		}
	}
}

func TestFingerprint(t *testing.T) {
	cluster := newCluster()
	namespace := clusterNamespace(cluster)
	of := func(objects []runtime.Object) string {
		t.Helper()
		digest, err := kube.Fingerprint(objects...)
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	base := of(agentAccess(cluster, namespace, "hub"))
	if of(agentAccess(cluster.DeepCopy(), namespace.DeepCopy(), "hub")) != base {
		t.Error("the same access has another fingerprint")
	}
	if of(agentAccess(cluster, namespace, "another hub")) == base {
		t.Error("another hub has the same fingerprint")
	}
	again := newCluster(func(c *fleet.Cluster) { c.UID = "another-uid" })
	if of(agentAccess(again, namespace, "hub")) == base {
		t.Error("a cluster that was made anew has the same fingerprint")
	}
}
