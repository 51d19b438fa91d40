package kube

import (
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MergePatch returns the JSON merge patch that turns before into after, with
// before's resourceVersion in it so that it applies to nothing else. With
// subresource "status" only status is compared, else everything but status.
// It returns nil if there is no difference.
func MergePatch(before, after metav1.Object, subresource string) ([]byte, error) {
	old, err := part(before, subresource)
	if err != nil {
		return nil, err
	}
	changed, err := part(after, subresource)
	if err != nil {
		return nil, err
	}
	data, err := jsonpatch.CreateMergePatch(old, changed)
	if err != nil {
		return nil, fmt.Errorf("comparing %s/%s: %w", before.GetNamespace(), before.GetName(), err)
	}
	if string(data) == "{}" {
		return nil, nil
	}
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err != nil {
		return nil, fmt.Errorf("reading patch of %s/%s: %w", before.GetNamespace(), before.GetName(), err)
	}
	meta, ok := patch["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		patch["metadata"] = meta
	}
	meta["resourceVersion"] = before.GetResourceVersion()
	return json.Marshal(patch)
}

// part returns the JSON of the part of obj that a patch may change.
func part(obj metav1.Object, subresource string) ([]byte, error) {
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encoding %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("decoding %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	if subresource != "" {
		return json.Marshal(map[string]json.RawMessage{subresource: orEmpty(fields[subresource])})
	}
	delete(fields, "status")
	delete(fields, "kind")
	delete(fields, "apiVersion")
	return json.Marshal(fields)
}

func orEmpty(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("{}")
	}
	return raw
}
