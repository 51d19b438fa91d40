package bundlereader

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
)

const (
	// maxName is the length of the longest name that is still the value of a label.
	maxName        = validation.LabelValueMaxLength
	maxReleaseName = 53
)

var releaseName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// validate reports what an API server would refuse, or could not make sense
// of, while it is still known in which line it is.
func (b *builder) validate() {
	for _, check := range []func(){b.checkName, b.checkMetadata, b.checkMode, b.checkDependsOn, b.checkReleaseNames, b.checkDownstreamResources, b.checkImageScans, b.checkTargets, b.checkPartitions, b.checkDiff} {
		check()
	}
}

func (b *builder) fault(severity Severity, message string, field ...any) {
	line, column := b.doc.position(field...)
	b.report(Finding{Severity: severity, Line: line, Column: column, Field: fieldPath(field), Message: message})
}

func (b *builder) checkName() {
	wrong := validation.IsDNS1123Subdomain(b.name)
	if len(b.name) > maxName {
		wrong = append(wrong, fmt.Sprintf("it has more than %d characters", maxName))
	}
	if len(wrong) > 0 {
		b.fault(Error, fmt.Sprintf("%q cannot be the name of a bundle: %s", b.name, strings.Join(wrong, "; ")), "name")
	}
}

func (b *builder) checkMetadata() {
	for _, key := range slices.Sorted(maps.Keys(b.doc.options.Labels)) {
		wrong := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(b.doc.options.Labels[key])...)
		if len(wrong) > 0 {
			b.fault(Error, "it cannot be a label: "+strings.Join(wrong, "; "), "labels", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.doc.options.Annotations)) {
		if wrong := validation.IsQualifiedName(strings.ToLower(key)); len(wrong) > 0 {
			b.fault(Error, "it cannot be an annotation: "+strings.Join(wrong, "; "), "annotations", key)
		}
	}
}

func (b *builder) checkMode() {
	switch b.bundle.Spec.TargetCustomizationMode {
	case fleet.FirstMatch, fleet.AllMatches:
	default:
		b.fault(Error, fmt.Sprintf("the value must be %q or %q", fleet.FirstMatch, fleet.AllMatches), "targetCustomizationMode")
	}
}

func (b *builder) checkDependsOn() {
	known := []fleet.BundleState{
		fleet.Ready, fleet.NotReady, fleet.WaitApplied, fleet.ErrApplied, fleet.OutOfSync, fleet.Pending, fleet.Modified, fleet.WaitingForDependency,
	}
	for i, ref := range b.doc.options.DependsOn {
		if ref.Name == "" && ref.Selector == nil {
			b.fault(Error, "it must have a name or a selector", "dependsOn", i)
		}
		for j, state := range ref.AcceptedStates {
			if !slices.Contains(known, state) {
				b.fault(Error, fmt.Sprintf("there is no state %q", state), "dependsOn", i, "acceptedStates", j)
			}
		}
	}
}

// placedOptions are options, and where in the file they stand.
type placedOptions struct {
	*fleet.BundleDeploymentOptions
	place []any
}

// at returns the place of a field below.
func (p placedOptions) at(field ...any) []any { return append(slices.Clone(p.place), field...) }

// allOptions lists the options of the file: its own, and those of its targets.
func (b *builder) allOptions() []placedOptions {
	options := &b.doc.options
	all := []placedOptions{{&options.BundleDeploymentOptions, nil}}
	for i := range options.Targets {
		all = append(all, placedOptions{&options.Targets[i].BundleDeploymentOptions, []any{"targets", i}})
	}
	for i := range options.TargetCustomizations {
		all = append(all, placedOptions{&options.TargetCustomizations[i].BundleDeploymentOptions, []any{"targetCustomizations", i}})
	}
	return all
}

func (b *builder) checkReleaseNames() {
	for _, options := range b.allOptions() {
		helm := options.Helm
		if helm == nil || helm.ReleaseName == "" {
			continue
		}
		if len(helm.ReleaseName) > maxReleaseName || !releaseName.MatchString(helm.ReleaseName) {
			b.fault(Error, fmt.Sprintf("a release name has at most %d characters: small letters, digits, dashes and dots", maxReleaseName), options.at("helm", "releaseName")...)
		}
	}
}

// checkDownstreamResources refuses what cannot be copied whatever a workspace holds.
func (b *builder) checkDownstreamResources() {
	for _, options := range b.allOptions() {
		_, wrong := copies.Refs(options.DownstreamResources)
		for _, w := range wrong {
			b.fault(Error, w.Reason, options.at("downstreamResources", w.Index, w.Field)...)
		}
	}
}

// checkImageScans refuses what would not be done, as Fleet does where scanning is switched off.
func (b *builder) checkImageScans() {
	if len(b.doc.options.ImageScans) > 0 {
		b.fault(Error, "image scans are not supported: take this out, and name the tags of images in the manifests or values", "imageScans")
	}
}
