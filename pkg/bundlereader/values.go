package bundlereader

import (
	"encoding/json"
	"path"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// mergeValuesFiles merges the values files of a helm block over its values, in
// their order.
func (b *builder) mergeValuesFiles(helm *fleet.HelmOptions, field ...any) error {
	if len(helm.ValuesFiles) == 0 {
		return nil
	}
	merged := map[string]any{}
	if helm.Values != nil {
		merged = merge(merged, helm.Values.Data)
	}
	for i, name := range helm.ValuesFiles {
		values, err := b.valuesFile(name, append(field, "valuesFiles", i)...)
		if err != nil {
			return err
		}
		merged = merge(merged, values)
	}
	if len(merged) > 0 {
		helm.Values = &fleet.GenericMap{Data: merged}
	}
	return nil
}

// valuesFile reads one values file; field is where the fleet.yaml names it.
func (b *builder) valuesFile(name string, field ...any) (map[string]any, error) {
	at := path.Join(b.contents.root, name)
	if path.IsAbs(name) || !inside(b.contents.root, at) {
		return nil, b.fieldError("the values file "+name+" is outside of the folder", field...)
	}
	real, content, err := b.contents.named(at)
	if err != nil {
		return nil, b.atField(err, "the values file "+name+" cannot be read: ", field...)
	}
	data, err := toJSON(content)
	if err != nil {
		return nil, &problem{Finding{Severity: Error, File: real, Line: lineOf(content, err), Message: parserText(err)}}
	}
	var values fleet.GenericMap
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, &problem{Finding{Severity: Error, File: real, Message: "a values file must hold fields, such as \"replicas: 3\""}}
	}
	return values.Data, nil
}

// merge returns over merged onto base: maps key by key, everything else as a
// whole. Neither is changed.
func merge(base, over map[string]any) map[string]any {
	out := make(map[string]any, len(base)+len(over))
	for key, value := range base {
		out[key] = value
	}
	for key, value := range over {
		below, isMap := value.(map[string]any)
		beneath, wasMap := out[key].(map[string]any)
		if isMap && wasMap {
			out[key] = merge(beneath, below)
			continue
		}
		out[key] = value
	}
	return out
}

// usedAsOptions returns the names of files that are options of the bundle, not
// resources: its fleet.yaml and its values files. Values files are left out
// under their base name, too.
func (b *builder) usedAsOptions() map[string]bool {
	used := map[string]bool{optionsName: true}
	if b.folder.options != "" {
		used[path.Clean(b.folder.options)] = true
	}
	add := func(helm *fleet.HelmOptions) {
		if helm == nil {
			return
		}
		for _, name := range helm.ValuesFiles {
			used[path.Clean(strings.TrimPrefix(name, "/"))] = true
			used[path.Base(name)] = true
		}
	}
	add(b.bundle.Spec.Helm)
	for i := range b.bundle.Spec.Targets {
		add(b.bundle.Spec.Targets[i].Helm)
	}
	return used
}
