package bundle

import (
	"maps"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// unset, as a string in a customization, takes away what the options below it say.
const unset = "-"

// Merge returns the root options with the customizations merged over them, in order.
//
//   - Strings and numbers: a customization that sets one wins. The string "-" unsets.
//   - Switches: a customization that sets one wins, whichever way it sets it.
//   - helm.values: merged deeply, lists as a whole; helm.templateValues, namespaceLabels, namespaceAnnotations: by key.
//   - yaml.overlays, helm.valuesFiles: appended.
//   - helm.valuesFrom, diff.comparePatches, downstreamResources, overwrites: appended; an entry about the same object
//     takes the place of the earlier one.
//   - correctDrift, ignore: replaced as a whole.
//   - allowedTargetNamespaceSelector: only the root's counts where it has one, as it is a restriction.
//
// In the result, switches that are off are left out, but for createNamespace, whose default is on. The result shares
// nothing with the arguments.
func Merge(root fleet.BundleDeploymentOptions, customizations ...fleet.BundleDeploymentOptions) fleet.BundleDeploymentOptions {
	merged := *root.DeepCopy()
	for i := range customizations {
		mergeOptions(&merged, customizations[i].DeepCopy())
	}
	return normalize(merged)
}

// mergeOptions merges custom over into. It takes over what custom refers to.
func mergeOptions(into, custom *fleet.BundleDeploymentOptions) {
	set(&into.DefaultNamespace, custom.DefaultNamespace)
	set(&into.TargetNamespace, custom.TargetNamespace)
	set(&into.ServiceAccount, custom.ServiceAccount)
	replace(&into.ForceSyncGeneration, custom.ForceSyncGeneration)

	replace(&into.CreateNamespace, custom.CreateNamespace)
	replace(&into.KeepResources, custom.KeepResources)
	replace(&into.DeleteNamespace, custom.DeleteNamespace)
	replace(&into.DeleteCRDResources, custom.DeleteCRDResources)
	replace(&into.CorrectDrift, custom.CorrectDrift)
	replace(&into.IgnoreOptions, custom.IgnoreOptions)

	mergeStrings(&into.NamespaceLabels, custom.NamespaceLabels)
	mergeStrings(&into.NamespaceAnnotations, custom.NamespaceAnnotations)
	into.DownstreamResources = union(into.DownstreamResources, custom.DownstreamResources, downstreamKey)
	into.Overwrites = union(into.Overwrites, custom.Overwrites, overwriteKey)
	if into.AllowedTargetNamespaceSelector == nil {
		into.AllowedTargetNamespaceSelector = custom.AllowedTargetNamespaceSelector
	}

	if custom.YAML != nil {
		yaml := allocate(&into.YAML)
		yaml.Overlays = append(yaml.Overlays, custom.YAML.Overlays...)
	}
	if custom.Kustomize != nil {
		set(&allocate(&into.Kustomize).Dir, custom.Kustomize.Dir)
	}
	if custom.Diff != nil {
		diff := allocate(&into.Diff)
		diff.ComparePatches = union(diff.ComparePatches, custom.Diff.ComparePatches, comparePatchKey)
	}
	if custom.Helm != nil {
		mergeHelm(allocate(&into.Helm), custom.Helm)
	}
}

func mergeHelm(into, custom *fleet.HelmOptions) {
	set(&into.Chart, custom.Chart)
	set(&into.Repo, custom.Repo)
	set(&into.Version, custom.Version)
	set(&into.ReleaseName, custom.ReleaseName)
	replace(&into.MaxHistory, custom.MaxHistory)
	// A number has no way to say nothing but 0, so it takes a negative one to stop waiting.
	replace(&into.TimeoutSeconds, custom.TimeoutSeconds)
	into.TimeoutSeconds = max(into.TimeoutSeconds, 0)

	replace(&into.Force, custom.Force)
	replace(&into.TakeOwnership, custom.TakeOwnership)
	replace(&into.WaitForJobs, custom.WaitForJobs)
	replace(&into.Atomic, custom.Atomic)
	replace(&into.DisablePreProcess, custom.DisablePreProcess)
	replace(&into.DisableDNS, custom.DisableDNS)
	replace(&into.SkipSchemaValidation, custom.SkipSchemaValidation)
	replace(&into.DisableDependencyUpdate, custom.DisableDependencyUpdate)

	into.ValuesFiles = append(into.ValuesFiles, custom.ValuesFiles...)
	into.ValuesFrom = union(into.ValuesFrom, custom.ValuesFrom, valuesFromKey)
	mergeStrings(&into.TemplateValues, custom.TemplateValues)
	if custom.Values != nil {
		values := allocate(&into.Values)
		values.Data = mergeValues(values.Data, custom.Values.Data)
	}
}

// mergeValues merges custom over into, map by map.
func mergeValues(into, custom map[string]any) map[string]any {
	if into == nil {
		return custom
	}
	for key, value := range custom {
		below, ok1 := into[key].(map[string]any)
		above, ok2 := value.(map[string]any)
		if ok1 && ok2 {
			into[key] = mergeValues(below, above)
			continue
		}
		into[key] = value
	}
	return into
}

// set writes a string that is set into field.
func set(field *string, custom string) {
	if custom == unset {
		*field = ""
		return
	}
	replace(field, custom)
}

// replace writes custom into field unless it is the zero value.
func replace[T comparable](field *T, custom T) {
	var zero T
	if custom != zero {
		*field = custom
	}
}

// allocate returns what field points to, made anew if that is nothing.
func allocate[T any](field **T) *T {
	if *field == nil {
		*field = new(T)
	}
	return *field
}

func mergeStrings(into *map[string]string, custom map[string]string) {
	if *into == nil {
		*into = custom
		return
	}
	maps.Copy(*into, custom)
}

// union appends custom to base; an entry whose key is there already takes that entry's place. Entries without a key
// are appended.
func union[T any](base, custom []T, key func(T) string) []T {
	if len(custom) == 0 {
		return base
	}
	at := make(map[string]int, len(base)+len(custom))
	for i, entry := range base {
		if k := key(entry); k != "" {
			at[k] = i
		}
	}
	for _, entry := range custom {
		k := key(entry)
		if i, ok := at[k]; ok {
			base[i] = entry
			continue
		}
		if k != "" {
			at[k] = len(base)
		}
		base = append(base, entry)
	}
	return base
}

func downstreamKey(r fleet.DownstreamResource) string {
	return joinKey(strings.ToLower(r.Kind), r.Name)
}

func overwriteKey(r fleet.OverwrittenResource) string {
	return joinKey(strings.ToLower(r.Kind), r.Namespace, r.Name)
}

func comparePatchKey(p fleet.ComparePatch) string {
	return joinKey(p.APIVersion, p.Kind, p.Namespace, p.Name)
}

func valuesFromKey(v fleet.ValuesFrom) string {
	var key []string
	if ref := v.ConfigMapKeyRef; ref != nil {
		key = append(key, "configmap", ref.Namespace, ref.Name, ref.Key)
	}
	if ref := v.SecretKeyRef; ref != nil {
		key = append(key, "secret", ref.Namespace, ref.Name, ref.Key)
	}
	return joinKey(key...)
}

// joinKey joins parts with a byte that names cannot have.
func joinKey(parts ...string) string { return strings.Join(parts, "\x00") }
