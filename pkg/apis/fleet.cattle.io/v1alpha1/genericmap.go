package v1alpha1

import (
	"encoding/json"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// GenericMap is a JSON object of any shape, such as the values of a Helm chart.
//
// +kubebuilder:object:generate=false
// +kubebuilder:validation:Type=object
// +kubebuilder:pruning:PreserveUnknownFields
type GenericMap struct {
	// Data holds what JSON decodes to: nil, bool, string, int64, float64, []any and map[string]any.
	Data map[string]any `json:"-"`
}

// MarshalJSON encodes the object itself; the type is not visible on the wire.
func (in GenericMap) MarshalJSON() ([]byte, error) {
	return json.Marshal(in.Data)
}

// UnmarshalJSON decodes an object; whole numbers become int64, so that large ones keep every digit.
func (in *GenericMap) UnmarshalJSON(data []byte) error {
	in.Data = nil
	return utiljson.Unmarshal(data, &in.Data)
}

// DeepCopyInto writes a copy that shares nothing with the receiver into out.
func (in *GenericMap) DeepCopyInto(out *GenericMap) {
	out.Data = nil
	if in.Data != nil {
		out.Data = copyValue(in.Data).(map[string]any)
	}
}

// DeepCopy returns a copy that shares nothing with the receiver.
func (in *GenericMap) DeepCopy() *GenericMap {
	if in == nil {
		return nil
	}
	out := new(GenericMap)
	in.DeepCopyInto(out)
	return out
}

// copyValue copies maps and slices; every other value that JSON decodes to is immutable. Unlike
// runtime.DeepCopyJSONValue it does not panic at an int that a caller put into Data.
func copyValue(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = copyValue(item)
		}
		return out
	case []any:
		if v == nil {
			return v
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = copyValue(item)
		}
		return out
	default:
		return v
	}
}
