// Package v1alpha1 holds the kinds of the API group fleet.cattle.io, version v1alpha1.
//
// A GitRepo names folders of a Git repository. Each folder becomes a Bundle: resources, options and targets. Each
// Cluster that a Bundle's targets match gets one BundleDeployment, in the namespace that the hub keeps for that
// cluster; the resources themselves are stored once, in a Content named by their digest. The agent of the cluster
// installs a BundleDeployment as one Helm release and reports in its status.
//
// The comments of the types and fields are what kubectl explain shows. Types carry no behaviour beyond tiny
// accessors; rules about them live in the packages that use them.
//
// +kubebuilder:object:generate=true
// +kubebuilder:validation:Optional
// +groupName=fleet.cattle.io
package v1alpha1
