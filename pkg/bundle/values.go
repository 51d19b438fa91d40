package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Keys of the Secrets that hold values.
const (
	// KeyRoot holds, in the Secret of a bundle, the values of the bundle itself. Those of its targets stand under the
	// names of the targets.
	KeyRoot = "values.yaml"
	// KeyValues holds, in the Secret of a deployment, the values of what runs now.
	KeyValues = "values"
	// KeyStagedValues holds, in the Secret of a deployment, the values of what should run next.
	KeyStagedValues = "stagedValues"
)

// ErrValuesHash says that a Secret does not hold the values that a bundle names. The two are written one after the
// other, so it may be right a moment later.
var ErrValuesHash = errors.New("the Secret does not hold the values that the bundle was written with")

// SplitValues takes the values out of templated options. It returns the options as they may be stored, the values as
// JSON, and their digest in hexadecimal. Values and digest are empty when there are no values. Templates of values go,
// too: they have been evaluated. The options must come from Template, which lets nothing pass that JSON cannot express;
// the result shares with them.
func SplitValues(options fleet.BundleDeploymentOptions) (stripped fleet.BundleDeploymentOptions, values []byte, hash string) {
	if options.Helm == nil {
		return options, nil, ""
	}
	values, err := encodeValues(options.Helm.Values)
	if err != nil {
		panic("bundle: SplitValues needs options that come from Template: " + err.Error())
	}
	helm := *options.Helm
	helm.Values, helm.TemplateValues = nil, nil
	options.Helm = &helm
	return options, values, DeploymentValuesHash(values)
}

// JoinValues is the reverse of SplitValues: it returns the options with the values in place. Values may be empty.
func JoinValues(options fleet.BundleDeploymentOptions, values []byte) (fleet.BundleDeploymentOptions, error) {
	if len(values) == 0 {
		return options, nil
	}
	decoded, err := decodeValues(values)
	if err != nil {
		return fleet.BundleDeploymentOptions{}, err
	}
	var helm fleet.HelmOptions
	if options.Helm != nil {
		helm = *options.Helm
	}
	helm.Values = decoded
	options.Helm = &helm
	return options, nil
}

// DeploymentValuesHash returns the digest, in hexadecimal, of the values that a deployment runs now, as they stand in
// its Secret. It is empty when there are none. Staged values do not count: what runs does not change with them.
func DeploymentValuesHash(values []byte) string {
	return names.Digest(values)
}

// ExtractValues takes all values out of a bundle. It returns the bundle as it may be stored, with spec.valuesHash set,
// and the data of the Secret that holds the values. Without any values the data is empty and so is the hash. Names of
// values files go, too: they have been read.
func ExtractValues(b *fleet.Bundle) (stripped *fleet.Bundle, data map[string][]byte, hash string, err error) {
	stripped = b.DeepCopy()
	data = map[string][]byte{}
	for _, holder := range valueHolders(stripped) {
		values, err := encodeValues(holder.helm.Values)
		if err != nil {
			return nil, nil, "", fmt.Errorf("encoding the values of %s: %w", holder.field, err)
		}
		if len(values) > 0 {
			data[holder.key] = values
		}
		holder.helm.Values, holder.helm.ValuesFiles = nil, nil
	}
	hash = ValuesHash(data)
	stripped.Spec.ValuesHash = hash
	return stripped, data, hash, nil
}

// InjectValues is the reverse of ExtractValues. It fails with ErrValuesHash where the data is not that of the bundle.
func InjectValues(b *fleet.Bundle, data map[string][]byte) (*fleet.Bundle, error) {
	if ValuesHash(data) != b.Spec.ValuesHash {
		return nil, ErrValuesHash
	}
	full := b.DeepCopy()
	for _, holder := range valueHolders(full) {
		raw, ok := data[holder.key]
		if !ok {
			continue
		}
		values, err := decodeValues(raw)
		if err != nil {
			return nil, fmt.Errorf("decoding the values of %s: %w", holder.field, err)
		}
		holder.helm.Values = values
	}
	return full, nil
}

// ValuesHash returns the digest, in hexadecimal, of the data of a bundle's Secret; it is empty when there is none.
func ValuesHash(data map[string][]byte) string {
	if len(data) == 0 {
		return ""
	}
	raw, err := json.Marshal(data)
	if err != nil {
		// A map of strings to bytes always encodes.
		panic(err)
	}
	return sha256Hex(raw)
}

// valueHolder is a place in a bundle that values can stand in.
type valueHolder struct {
	helm  *fleet.HelmOptions
	key   string
	field string
}

func valueHolders(b *fleet.Bundle) []valueHolder {
	var holders []valueHolder
	if b.Spec.Helm != nil {
		holders = append(holders, valueHolder{helm: b.Spec.Helm, key: KeyRoot, field: "spec.helm"})
	}
	keys := targetKeys(b.Spec.Targets)
	for i := range b.Spec.Targets {
		if helm := b.Spec.Targets[i].Helm; helm != nil {
			holders = append(holders, valueHolder{helm: helm, key: keys[i], field: fmt.Sprintf("spec.targets[%d].helm", i)})
		}
	}
	return holders
}

// secretKey is what Kubernetes allows as a key of a Secret.
var secretKey = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)

// targetKeys returns the key of each target in the Secret of its bundle: the name of the target, or the name it would
// have without one where its own cannot be a key or is taken by an earlier target.
func targetKeys(targets []fleet.BundleTarget) []string {
	keys := make([]string, len(targets))
	taken := map[string]bool{KeyRoot: true}
	for i := range targets {
		name := targets[i].Name
		if secretKey.MatchString(name) && name != "." && name != ".." && !taken[name] {
			keys[i], taken[name] = name, true
		}
	}
	for i := range keys {
		// Names that users chose come first, so a default one may be taken by such a name.
		for key := names.Target(i); keys[i] == ""; key += "-" {
			if !taken[key] {
				keys[i], taken[key] = key, true
			}
		}
	}
	return keys
}

// encodeValues returns the values as JSON, nothing if there are none.
func encodeValues(values *fleet.GenericMap) ([]byte, error) {
	if values == nil || len(values.Data) == 0 {
		return nil, nil
	}
	return json.Marshal(values)
}

func decodeValues(raw []byte) (*fleet.GenericMap, error) {
	values := new(fleet.GenericMap)
	if err := values.UnmarshalJSON(raw); err != nil {
		// The cause may quote the values.
		return nil, errors.New("decoding values: they are not a JSON object")
	}
	return values, nil
}
