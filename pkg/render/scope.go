package render

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// isCRD says whether an object defines a kind.
func isCRD(o object) bool {
	gvk := o.GroupVersionKind()
	return gvk.Group == "apiextensions.k8s.io" && gvk.Kind == "CustomResourceDefinition"
}

// scopes knows which kinds live in namespaces.
type scopes struct {
	// cluster is what the cluster says; it may be nil.
	cluster func(schema.GroupVersionKind) (namespaced, known bool)
	// defined are the kinds that the bundle itself defines.
	defined map[schema.GroupKind]bool
}

// namespaced says whether objects of a kind live in namespaces, and whether that
// is known. What the cluster says comes first: a definition in the bundle may
// not be the one that is in force.
func (s scopes) namespaced(gvk schema.GroupVersionKind) (namespaced, known bool) {
	if s.cluster != nil {
		if namespaced, known = s.cluster(gvk); known {
			return namespaced, true
		}
	}
	if namespaced, known = s.defined[gvk.GroupKind()]; known {
		return namespaced, true
	}
	return builtinScope(gvk)
}

// definedScopes reads the CustomResourceDefinitions among the objects.
func definedScopes(objects []object) map[schema.GroupKind]bool {
	defined := map[schema.GroupKind]bool{}
	for _, o := range objects {
		if !isCRD(o) {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope")
		if kind != "" && scope != "" {
			defined[schema.GroupKind{Group: group, Kind: kind}] = scope == "Namespaced"
		}
	}
	return defined
}

// builtinScope knows the kinds of Kubernetes and Fleet's.
func builtinScope(gvk schema.GroupVersionKind) (namespaced, known bool) {
	if builtinClusterScoped(gvk.GroupKind()) {
		return false, true
	}
	if gvk.Group == fleet.SchemeGroupVersion.Group {
		return true, true
	}
	return true, scheme.Scheme.Recognizes(gvk)
}

func builtinClusterScoped(kind schema.GroupKind) bool {
	switch kind.Group {
	case "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io",
		"flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "storagemigration.k8s.io":
		return true
	case "":
		return slices.Contains([]string{"Namespace", "Node", "PersistentVolume", "ComponentStatus"}, kind.Kind)
	case "authentication.k8s.io":
		return slices.Contains([]string{"TokenReview", "SelfSubjectReview"}, kind.Kind)
	case "authorization.k8s.io":
		return slices.Contains([]string{"SubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview"}, kind.Kind)
	case "certificates.k8s.io":
		return slices.Contains([]string{"CertificateSigningRequest", "ClusterTrustBundle"}, kind.Kind)
	case "imagepolicy.k8s.io":
		return kind.Kind == "ImageReview"
	case "networking.k8s.io":
		return slices.Contains([]string{"IngressClass", "IPAddress", "ServiceCIDR"}, kind.Kind)
	case "node.k8s.io":
		return kind.Kind == "RuntimeClass"
	case "policy":
		return kind.Kind == "PodSecurityPolicy"
	case "rbac.authorization.k8s.io":
		return slices.Contains([]string{"ClusterRole", "ClusterRoleBinding"}, kind.Kind)
	case "resource.k8s.io":
		return slices.Contains([]string{"DeviceClass", "DeviceTaintRule", "ResourceSlice", "ResourcePoolStatusRequest"}, kind.Kind)
	case "scheduling.k8s.io":
		return kind.Kind == "PriorityClass"
	case "storage.k8s.io":
		return slices.Contains([]string{"StorageClass", "VolumeAttachment", "CSINode", "CSIDriver", "VolumeAttributesClass"}, kind.Kind)
	case "fleet.cattle.io":
		return kind.Kind == "Content"
	default:
		return false
	}
}
