package bundle

import (
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Varies says whether Template may come to different results for different
// clusters. Where it says no, the result depends only on whether templates see
// any label of the cluster (see SeesLabels): it can be computed once for a
// whole fleet.
func Varies(options fleet.BundleDeploymentOptions) bool {
	switch {
	case options.Helm == nil || on(options.Helm.DisablePreProcess):
		return false
	case len(options.Helm.TemplateValues) > 0:
		return true
	case options.Helm.Values == nil:
		return false
	}
	return varies(options.Helm.Values.Data)
}

func varies(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, leftDelim) || strings.HasPrefix(v, labelReference)
	case map[string]any:
		for key, item := range v {
			if strings.Contains(key, leftDelim) || varies(item) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if varies(item) {
				return true
			}
		}
	}
	return false
}

// SeesLabels says whether templates see any of the labels of a cluster.
func SeesLabels(labels map[string]string) bool {
	for name := range labels {
		if isVisible(name) {
			return true
		}
	}
	return false
}
