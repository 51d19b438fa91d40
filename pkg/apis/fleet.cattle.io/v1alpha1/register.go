package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of every kind in this package.
const GroupName = "fleet.cattle.io"

// Version is the API version of every kind in this package.
const Version = "v1alpha1"

// SchemeGroupVersion identifies the group and version of every kind in this package. It is never changed.
var SchemeGroupVersion = schema.GroupVersion{Group: GroupName, Version: Version}

// AddToScheme registers every kind of this package, and the list and option types that clients need, with the scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(SchemeGroupVersion,
		&Bundle{}, &BundleList{},
		&BundleDeployment{}, &BundleDeploymentList{},
		&BundleNamespaceMapping{}, &BundleNamespaceMappingList{},
		&Cluster{}, &ClusterList{},
		&ClusterGroup{}, &ClusterGroupList{},
		&ClusterRegistration{}, &ClusterRegistrationList{},
		&ClusterRegistrationToken{}, &ClusterRegistrationTokenList{},
		&Content{}, &ContentList{},
		&GitRepo{}, &GitRepoList{},
		&GitRepoRestriction{}, &GitRepoRestrictionList{},
		&HelmOp{}, &HelmOpList{},
		&ImageScan{}, &ImageScanList{},
		&Policy{}, &PolicyList{},
		&Schedule{}, &ScheduleList{},
	)
	metav1.AddToGroupVersion(scheme, SchemeGroupVersion)
	return nil
}

// GroupResource returns the group-qualified form of a resource's plural name.
func GroupResource(plural string) schema.GroupResource {
	return SchemeGroupVersion.WithResource(plural).GroupResource()
}
