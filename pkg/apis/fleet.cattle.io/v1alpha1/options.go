package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BundleDeploymentOptions says how the resources of a bundle are deployed. Booleans are pointers, so that a
// customization can switch an option on as well as off.
//
// The order of the fields is part of the API: the identity of a deployment is a digest of the JSON of this type.
type BundleDeploymentOptions struct {
	// YAML holds options for bundles of plain manifests.
	// +nullable
	YAML *YAMLOptions `json:"yaml,omitempty"`
	// Kustomize holds options for bundles with a kustomization.
	// +nullable
	Kustomize *KustomizeOptions `json:"kustomize,omitempty"`
	// DefaultNamespace is the namespace of the Helm release and of every object that names none. Default: default.
	// +nullable
	DefaultNamespace string `json:"defaultNamespace,omitempty"`
	// TargetNamespace forces every object into this namespace. A bundle with cluster-scoped objects is refused then.
	// +nullable
	TargetNamespace string `json:"namespace,omitempty"`
	// Helm holds the chart, its values and options of the Helm release.
	// +nullable
	Helm *HelmOptions `json:"helm,omitempty"`
	// ServiceAccount is the service account in the agent's namespace, downstream, that the agent acts as for this bundle.
	// +nullable
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// CreateNamespace says whether the agent creates the namespace of the release. Default: true.
	// +nullable
	CreateNamespace *bool `json:"createNamespace,omitempty"`
	// ForceSyncGeneration deploys again, although nothing else has changed, whenever it is raised.
	ForceSyncGeneration int64 `json:"forceSyncGeneration,omitempty"`
	// Diff names differences between what was applied and what is live that do not count as drift.
	// +nullable
	Diff *DiffOptions `json:"diff,omitempty"`
	// KeepResources leaves everything the bundle deployed in place when the bundle or its deployment goes.
	// +nullable
	KeepResources *bool `json:"keepResources,omitempty"`
	// DeleteNamespace removes the namespace of the release together with the deployment.
	// +nullable
	DeleteNamespace *bool `json:"deleteNamespace,omitempty"`
	// IgnoreOptions names status conditions of objects that do not count against readiness.
	// +nullable
	IgnoreOptions *IgnoreOptions `json:"ignore,omitempty"`
	// CorrectDrift says whether and how changes made in the cluster by others are undone.
	// +nullable
	CorrectDrift *CorrectDrift `json:"correctDrift,omitempty"`
	// NamespaceLabels are set on the namespace of the release. Labels that are not listed are removed, but for those
	// that Kubernetes sets itself and those of pod security.
	// +nullable
	NamespaceLabels map[string]string `json:"namespaceLabels,omitempty"`
	// NamespaceAnnotations are set on the namespace of the release.
	// +nullable
	NamespaceAnnotations map[string]string `json:"namespaceAnnotations,omitempty"`
	// DeleteCRDResources removes CustomResourceDefinitions, and with them every object of these kinds, together with
	// the deployment. A CustomResourceDefinition with the annotation "helm.sh/resource-policy: keep" stays. Default: false.
	// +nullable
	DeleteCRDResources *bool `json:"deleteCRDResources,omitempty"`
	// DownstreamResources lists Secrets and ConfigMaps of the bundle's namespace that are copied to the cluster before
	// the release is installed.
	// +nullable
	DownstreamResources []DownstreamResource `json:"downstreamResources,omitempty"`
	// Overwrites lists objects that this bundle takes over from another one. It is filled in by the manager.
	// +nullable
	Overwrites []OverwrittenResource `json:"overwrites,omitempty"`
	// AllowedTargetNamespaceSelector limits the namespaces that the release may use to those with matching labels. It
	// is filled in by the manager from the restrictions of the workspace.
	// +nullable
	AllowedTargetNamespaceSelector *metav1.LabelSelector `json:"allowedTargetNamespaceSelector,omitempty"`
}

// YAMLOptions are options for bundles of plain manifests.
type YAMLOptions struct {
	// Overlays are names of folders under "overlays/", applied in this order: a file of the same path replaces, a new
	// path adds, and "<file>_patch.<ext>" patches "<file>.<ext>".
	// +nullable
	Overlays []string `json:"overlays,omitempty"`
}

// KustomizeOptions are options for bundles with a kustomization.
type KustomizeOptions struct {
	// Dir is the folder of the kustomization, relative to the bundle. Default: the root of the bundle.
	// +nullable
	Dir string `json:"dir,omitempty"`
}

// HelmOptions name a chart, its values and options of the Helm release. The order of the fields is part of the API.
type HelmOptions struct {
	// ValuesFiles are files of the bundle that are merged over the values, in this order, when the bundle is made.
	// +nullable
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// Chart is a folder of the bundle, the URL of a chart archive, or the name of a chart in the repository.
	// +nullable
	Chart string `json:"chart,omitempty"`
	// Repo is the URL of a chart repository: "https://" or "oci://".
	// +nullable
	Repo string `json:"repo,omitempty"`
	// ReleaseName is the name of the Helm release. Default: derived from the name of the bundle.
	// +nullable
	// +kubebuilder:validation:MaxLength=53
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ReleaseName string `json:"releaseName,omitempty"`
	// Version is the version of the chart, or a constraint such as "~1.2". Default: the latest.
	// +nullable
	Version string `json:"version,omitempty"`
	// TimeoutSeconds makes the agent wait this many seconds for the objects of the release to become ready, and fail the
	// release otherwise. 0: do not wait.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
	// Values are the values of the chart. Strings may hold templates between "${" and "}", evaluated for each cluster.
	// +nullable
	Values *GenericMap `json:"values,omitempty"`
	// TemplateValues are templates by value name; each is evaluated for each cluster, then read as YAML. They win over
	// values.
	// +nullable
	TemplateValues map[string]string `json:"templateValues,omitempty"`
	// ValuesFrom names ConfigMaps and Secrets of the downstream cluster that hold values. They are read when the release
	// is installed and merged over values, in this order.
	// +nullable
	ValuesFrom []ValuesFrom `json:"valuesFrom,omitempty"`
	// Force replaces objects that cannot be changed in place.
	// +nullable
	Force *bool `json:"force,omitempty"`
	// TakeOwnership lets the release adopt objects that exist already and belong to no release or to another one.
	// +nullable
	TakeOwnership *bool `json:"takeOwnership,omitempty"`
	// MaxHistory is the number of revisions of the release that Helm keeps. Default: 2.
	MaxHistory int `json:"maxHistory,omitempty"`
	// WaitForJobs waits for Jobs to complete, too, where timeoutSeconds is set.
	// +nullable
	WaitForJobs *bool `json:"waitForJobs,omitempty"`
	// Atomic rolls a failed upgrade back.
	// +nullable
	Atomic *bool `json:"atomic,omitempty"`
	// DisablePreProcess leaves templates in values as they are.
	// +nullable
	DisablePreProcess *bool `json:"disablePreProcess,omitempty"`
	// DisableDNS keeps templates of the chart from resolving host names.
	// +nullable
	DisableDNS *bool `json:"disableDNS,omitempty"`
	// SkipSchemaValidation does not check the values against the schema of the chart.
	// +nullable
	SkipSchemaValidation *bool `json:"skipSchemaValidation,omitempty"`
	// DisableDependencyUpdate does not fetch the dependencies of the chart when the bundle is made.
	// +nullable
	DisableDependencyUpdate *bool `json:"disableDependencyUpdate,omitempty"`
}

// ValuesFrom names a ConfigMap, a Secret, or both, that hold values. The Secret wins over the ConfigMap.
type ValuesFrom struct {
	// ConfigMapKeyRef is the key of a ConfigMap in the downstream cluster.
	// +nullable
	ConfigMapKeyRef *ConfigMapKeySelector `json:"configMapKeyRef,omitempty"`
	// SecretKeyRef is the key of a Secret in the downstream cluster.
	// +nullable
	SecretKeyRef *SecretKeySelector `json:"secretKeyRef,omitempty"`
}

// ConfigMapKeySelector is one key of a ConfigMap.
type ConfigMapKeySelector struct {
	corev1.LocalObjectReference `json:",inline"`
	// Namespace of the ConfigMap. Default: the namespace of the release.
	// +nullable
	Namespace string `json:"namespace,omitempty"`
	// Key that holds the values. Default: values.yaml.
	// +nullable
	Key string `json:"key,omitempty"`
}

// SecretKeySelector is one key of a Secret.
type SecretKeySelector struct {
	corev1.LocalObjectReference `json:",inline"`
	// Namespace of the Secret. Default: the namespace of the release.
	// +nullable
	Namespace string `json:"namespace,omitempty"`
	// Key that holds the values. Default: values.yaml.
	// +nullable
	Key string `json:"key,omitempty"`
}

// DiffOptions name differences that do not count as drift.
type DiffOptions struct {
	// ComparePatches are changes made to both sides before they are compared.
	// +nullable
	ComparePatches []ComparePatch `json:"comparePatches,omitempty"`
}

// ComparePatch names an object, or several, and what of it is not compared.
type ComparePatch struct {
	// Kind of the object.
	// +nullable
	Kind string `json:"kind,omitempty"`
	// APIVersion of the object.
	// +nullable
	APIVersion string `json:"apiVersion,omitempty"`
	// Namespace of the object.
	// +nullable
	Namespace string `json:"namespace,omitempty"`
	// Name of the object. With an operation "ignore" it may be a regular expression, or empty for every object of the
	// kind in the namespace.
	// +nullable
	Name string `json:"name,omitempty"`
	// Operations are carried out on both sides before they are compared.
	// +nullable
	Operations []Operation `json:"operations,omitempty"`
	// JSONPointers are paths that are not compared, for example "/spec/replicas".
	// +nullable
	JSONPointers []string `json:"jsonPointers,omitempty"`
}

// Operation is one change made to both sides before they are compared.
type Operation struct {
	// Op is "remove", which leaves out the path, "ignore", which leaves out the object, or another operation of JSON Patch.
	// +nullable
	Op string `json:"op,omitempty"`
	// Path is the JSON pointer to the field.
	// +nullable
	Path string `json:"path,omitempty"`
	// Value for operations that need one.
	// +nullable
	Value string `json:"value,omitempty"`
}

// IgnoreOptions name what does not count against readiness.
type IgnoreOptions struct {
	// Conditions of an object's status, by field, for example "type: Active" with "status: False". An object that is
	// not ready because of such a condition only, is ready.
	// +nullable
	Conditions []map[string]string `json:"conditions,omitempty"`
}

// CorrectDrift says whether and how changes made in the cluster by others are undone.
type CorrectDrift struct {
	// Enabled undoes changes as soon as they are seen.
	Enabled bool `json:"enabled,omitempty"`
	// Force deletes and creates objects again that cannot be changed back in place.
	Force bool `json:"force,omitempty"`
	// KeepFailHistory keeps the failed revisions of the Helm release.
	KeepFailHistory bool `json:"keepFailHistory,omitempty"`
}

// DownstreamResource is a Secret or ConfigMap of the bundle's namespace.
type DownstreamResource struct {
	// Kind is Secret or ConfigMap.
	// +nullable
	Kind string `json:"kind,omitempty"`
	// Name of the object.
	// +nullable
	Name string `json:"name,omitempty"`
}

// OverwrittenResource is an object that a bundle takes over from another one.
type OverwrittenResource struct {
	// Kind of the object.
	// +nullable
	Kind string `json:"kind,omitempty"`
	// Name of the object.
	// +nullable
	Name string `json:"name,omitempty"`
	// Namespace of the object.
	// +nullable
	Namespace string `json:"namespace,omitempty"`
}
