package v1alpha1

// FleetYAML is the file fleet.yaml in a folder of a Git repository. It says how the folder becomes a Bundle.
type FleetYAML struct {
	BundleSpec `json:",inline"`

	// Name of the Bundle. Default: derived from the name of the GitRepo and the path of the folder.
	Name string `json:"name,omitempty"`
	// Labels of the Bundle.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations of the Bundle.
	Annotations map[string]string `json:"annotations,omitempty"`
	// TargetCustomizations are options that hold on the clusters they match. They come after targets.
	TargetCustomizations []BundleTarget `json:"targetCustomizations,omitempty"`
	// OverrideTargets replace the targets of the GitRepo for this bundle.
	OverrideTargets []GitTarget `json:"overrideTargets,omitempty"`
	// ImageScans are made ImageScans of the GitRepo.
	ImageScans []ImageScanYAML `json:"imageScans,omitempty"`
}

// ImageScanYAML is an image scan in a fleet.yaml.
type ImageScanYAML struct {
	ImageScanSpec `json:",inline"`

	// Name is not used.
	Name string `json:"name,omitempty"`
}
