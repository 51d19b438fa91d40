package bundle

import (
	"fmt"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// DeploymentID identifies a content deployed with the given options; it is the same if and only if nothing has to be
// deployed again. The options hold their values, templated. How drift is compared and corrected does not count.
func DeploymentID(contentName string, options fleet.BundleDeploymentOptions) (string, error) {
	options = normalize(options)
	options.Diff = nil
	options.CorrectDrift = nil
	raw, err := marshal(options)
	if err != nil {
		return "", fmt.Errorf("encoding options: %w", err)
	}
	return contentName + ":" + sha256Hex(raw), nil
}

// normalize returns the options with every option that is switched off left out, as if it had never been mentioned:
// off is the default of all but createNamespace, and so on the wire and in digests the two are one. The argument is
// not changed; all else is shared with it.
func normalize(options fleet.BundleDeploymentOptions) fleet.BundleDeploymentOptions {
	for _, option := range []**bool{&options.KeepResources, &options.DeleteNamespace, &options.DeleteCRDResources} {
		dropFalse(option)
	}
	if options.Helm == nil {
		return options
	}
	helm := *options.Helm
	for _, option := range []**bool{
		&helm.Force, &helm.TakeOwnership, &helm.WaitForJobs, &helm.Atomic,
		&helm.DisablePreProcess, &helm.DisableDNS, &helm.SkipSchemaValidation, &helm.DisableDependencyUpdate,
	} {
		dropFalse(option)
	}
	options.Helm = &helm
	return options
}

func dropFalse(option **bool) {
	if *option != nil && !**option {
		*option = nil
	}
}
