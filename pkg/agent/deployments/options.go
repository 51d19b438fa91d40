package deployments

import (
	"maps"
	"slices"
	"strings"
	"time"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/release"
)

// releaseKey returns the name of the release that a deployment asks for.
func releaseKey(bundle string, o *fleet.BundleDeploymentOptions) release.Key {
	key := release.Key{Namespace: names.NamespaceRelease, Name: names.HelmRelease(bundle)}
	switch {
	case o.TargetNamespace != "":
		key.Namespace = o.TargetNamespace
	case o.DefaultNamespace != "":
		key.Namespace = o.DefaultNamespace
	}
	if o.Helm != nil && o.Helm.ReleaseName != "" {
		key.Name = o.Helm.ReleaseName
	}
	return key
}

// helmOptions returns the options of Helm actions that a deployment asks for.
func helmOptions(o *fleet.BundleDeploymentOptions) release.HelmOptions {
	if o.Helm == nil {
		return release.HelmOptions{}
	}
	return release.HelmOptions{
		Timeout:              time.Duration(max(o.Helm.TimeoutSeconds, 0)) * time.Second,
		WaitForJobs:          isSet(o.Helm.WaitForJobs),
		Atomic:               isSet(o.Helm.Atomic),
		Force:                isSet(o.Helm.Force),
		TakeOwnership:        isSet(o.Helm.TakeOwnership),
		MaxHistory:           o.Helm.MaxHistory,
		DisableDNS:           isSet(o.Helm.DisableDNS),
		SkipSchemaValidation: isSet(o.Helm.SkipSchemaValidation),
	}
}

// namespaceOptions returns what is to be done about the namespace of the
// release.
func namespaceOptions(o *fleet.BundleDeploymentOptions) release.NamespaceOptions {
	return release.NamespaceOptions{
		Create:      o.CreateNamespace == nil || *o.CreateNamespace,
		Labels:      maps.Clone(o.NamespaceLabels),
		Annotations: maps.Clone(o.NamespaceAnnotations),
		Allowed:     o.AllowedTargetNamespaceSelector,
	}
}

// unsupported names what a deployment asks for that this version cannot do; it
// is empty if there is nothing.
func unsupported(spec *fleet.BundleDeploymentSpec) string {
	var fields []string
	if spec.HelmChartOptions != nil {
		fields = append(fields, "helmChartOptions (charts that the agent fetches)")
	}
	if spec.OCIContents {
		fields = append(fields, "ociContents (contents in an OCI registry)")
	}
	slices.Sort(fields)
	return strings.Join(fields, ", ")
}

func isSet(option *bool) bool { return option != nil && *option }
