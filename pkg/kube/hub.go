package kube

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Hub is the set of kinds that the hub holds.
type Hub struct {
	*Connection

	GitRepos                  *Kind[*fleet.GitRepo, *fleet.GitRepoList]
	HelmOps                   *Kind[*fleet.HelmOp, *fleet.HelmOpList]
	Bundles                   *Kind[*fleet.Bundle, *fleet.BundleList]
	BundleDeployments         *Kind[*fleet.BundleDeployment, *fleet.BundleDeploymentList]
	Contents                  *Kind[*fleet.Content, *fleet.ContentList]
	Clusters                  *Kind[*fleet.Cluster, *fleet.ClusterList]
	ClusterGroups             *Kind[*fleet.ClusterGroup, *fleet.ClusterGroupList]
	BundleNamespaceMappings   *Kind[*fleet.BundleNamespaceMapping, *fleet.BundleNamespaceMappingList]
	GitRepoRestrictions       *Kind[*fleet.GitRepoRestriction, *fleet.GitRepoRestrictionList]
	Policies                  *Kind[*fleet.Policy, *fleet.PolicyList]
	Schedules                 *Kind[*fleet.Schedule, *fleet.ScheduleList]
	ImageScans                *Kind[*fleet.ImageScan, *fleet.ImageScanList]
	ClusterRegistrations      *Kind[*fleet.ClusterRegistration, *fleet.ClusterRegistrationList]
	ClusterRegistrationTokens *Kind[*fleet.ClusterRegistrationToken, *fleet.ClusterRegistrationTokenList]

	Namespaces *Kind[*corev1.Namespace, *corev1.NamespaceList]
	Secrets    *Kind[*corev1.Secret, *corev1.SecretList]
	Leases     *Kind[*coordinationv1.Lease, *coordinationv1.LeaseList]
}

// NewHub returns the kinds over conn. No watch starts until a cache is taken.
func NewHub(conn *Connection) *Hub {
	return &Hub{
		Connection:                conn,
		GitRepos:                  NewKind[*fleet.GitRepo, *fleet.GitRepoList](conn, fleetKind("GitRepo", "gitrepos")),
		HelmOps:                   NewKind[*fleet.HelmOp, *fleet.HelmOpList](conn, fleetKind("HelmOp", "helmops")),
		Bundles:                   NewKind[*fleet.Bundle, *fleet.BundleList](conn, fleetKind("Bundle", "bundles")),
		BundleDeployments:         NewKind[*fleet.BundleDeployment, *fleet.BundleDeploymentList](conn, deploymentKind()),
		Contents:                  NewKind[*fleet.Content, *fleet.ContentList](conn, contentKind()),
		Clusters:                  NewKind[*fleet.Cluster, *fleet.ClusterList](conn, fleetKind("Cluster", "clusters")),
		ClusterGroups:             NewKind[*fleet.ClusterGroup, *fleet.ClusterGroupList](conn, fleetKind("ClusterGroup", "clustergroups")),
		BundleNamespaceMappings:   NewKind[*fleet.BundleNamespaceMapping, *fleet.BundleNamespaceMappingList](conn, fleetKind("BundleNamespaceMapping", "bundlenamespacemappings")),
		GitRepoRestrictions:       NewKind[*fleet.GitRepoRestriction, *fleet.GitRepoRestrictionList](conn, fleetKind("GitRepoRestriction", "gitreporestrictions")),
		Policies:                  NewKind[*fleet.Policy, *fleet.PolicyList](conn, fleetKind("Policy", "policies")),
		Schedules:                 NewKind[*fleet.Schedule, *fleet.ScheduleList](conn, fleetKind("Schedule", "schedules")),
		ImageScans:                NewKind[*fleet.ImageScan, *fleet.ImageScanList](conn, fleetKind("ImageScan", "imagescans")),
		ClusterRegistrations:      NewKind[*fleet.ClusterRegistration, *fleet.ClusterRegistrationList](conn, fleetKind("ClusterRegistration", "clusterregistrations")),
		ClusterRegistrationTokens: NewKind[*fleet.ClusterRegistrationToken, *fleet.ClusterRegistrationTokenList](conn, fleetKind("ClusterRegistrationToken", "clusterregistrationtokens")),

		Namespaces: NewKind[*corev1.Namespace, *corev1.NamespaceList](conn, Resource{GVK: corev1.SchemeGroupVersion.WithKind("Namespace"), Plural: "namespaces"}),
		Secrets:    NewKind[*corev1.Secret, *corev1.SecretList](conn, secretKind()),
		Leases:     NewKind[*coordinationv1.Lease, *coordinationv1.LeaseList](conn, Resource{GVK: coordinationv1.SchemeGroupVersion.WithKind("Lease"), Plural: "leases", Namespaced: true}),
	}
}

func fleetKind(kind, plural string) Resource {
	return Resource{GVK: FleetGVK(kind), Plural: plural, Namespaced: true}
}

// deploymentKind keeps memory per deployment small: a hub holds very many.
func deploymentKind() Resource {
	r := fleetKind("BundleDeployment", "bundledeployments")
	r.Trim = share
	return r
}

// contentKind keeps the bodies of Contents out of memory: the cache is read
// for names and annotations only.
func contentKind() Resource {
	return Resource{GVK: FleetGVK("Content"), Plural: "contents", Trim: func(obj any) {
		if c, ok := obj.(*fleet.Content); ok {
			c.Content = nil
		}
	}}
}

// secretKind keeps what Secrets hold out of memory: the cache is read for
// types and labels only.
func secretKind() Resource {
	return Resource{GVK: corev1.SchemeGroupVersion.WithKind("Secret"), Plural: "secrets", Namespaced: true, Trim: func(obj any) {
		if s, ok := obj.(*corev1.Secret); ok {
			s.Data = nil
		}
	}}
}

// FleetGVK returns the full name of a kind of Fleet's API.
func FleetGVK(kind string) schema.GroupVersionKind {
	return fleet.SchemeGroupVersion.WithKind(kind)
}
