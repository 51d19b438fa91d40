package bundlereader

import (
	"fmt"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// defaultTargets are the targets of a GitRepo that gives none.
func defaultTargets() []fleet.GitTarget {
	return []fleet.GitTarget{{Name: names.ClusterGroupDefault, ClusterGroup: names.ClusterGroupDefault}}
}

// assembleTargets puts the customizations of a fleet.yaml in front of the
// targets of the GitRepo, or of those that override them. The latter are also
// what the bundle is restricted to.
func assembleTargets(spec *fleet.BundleSpec, options *fleet.FleetYAML, targets []fleet.GitTarget) {
	if len(options.OverrideTargets) > 0 {
		targets = options.OverrideTargets
	}
	spec.Targets = append(spec.Targets, options.TargetCustomizations...)
	for i := range spec.Targets {
		if spec.Targets[i].Name == "" {
			spec.Targets[i].Name = fmt.Sprintf("target%03d", i)
		}
	}
	spec.TargetRestrictions = nil
	for _, t := range targets {
		spec.Targets = append(spec.Targets, fleet.BundleTarget{
			Name: t.Name, ClusterName: t.ClusterName, ClusterGroup: t.ClusterGroup,
			ClusterSelector: t.ClusterSelector.DeepCopy(), ClusterGroupSelector: t.ClusterGroupSelector.DeepCopy(),
		})
		spec.TargetRestrictions = append(spec.TargetRestrictions, fleet.BundleTargetRestriction{
			Name: t.Name, ClusterName: t.ClusterName, ClusterGroup: t.ClusterGroup,
			ClusterSelector: t.ClusterSelector.DeepCopy(), ClusterGroupSelector: t.ClusterGroupSelector.DeepCopy(),
		})
	}
}

// override applies what the GitRepo decides for all of its bundles. What a
// GitRepo demands for the sake of safety, a customization cannot undo.
func override(spec *fleet.BundleSpec, o Options) {
	spec.ForceSyncGeneration = o.ForceSyncGeneration
	if o.CorrectDrift != nil && o.CorrectDrift.Enabled {
		spec.CorrectDrift = o.CorrectDrift.DeepCopy()
	}
	spec.Paused = spec.Paused || o.Paused
	all := []*fleet.BundleDeploymentOptions{&spec.BundleDeploymentOptions}
	for i := range spec.Targets {
		spec.Targets[i].ForceSyncGeneration = 0
		all = append(all, &spec.Targets[i].BundleDeploymentOptions)
	}
	for i, options := range all {
		if o.TargetNamespace != "" {
			options.TargetNamespace = o.TargetNamespace
		}
		if o.ServiceAccount != "" && (i == 0 || options.ServiceAccount != "") {
			options.ServiceAccount = o.ServiceAccount
		}
		if o.KeepResources {
			options.KeepResources = forced(i == 0)
		}
		if o.DeleteNamespace {
			options.DeleteNamespace = forced(i == 0)
		}
	}
}

// forced is true at the root, and nothing where it would only repeat that.
func forced(atRoot bool) *bool {
	if !atRoot {
		return nil
	}
	return &atRoot
}
