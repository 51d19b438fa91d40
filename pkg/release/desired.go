package release

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/flotilla-gitops/flotilla/pkg/drift"
)

// Desired holds the objects of a release as it asks for them, with the marks
// that Helm sets. It is compressed: an event of an object costs no request
// beside the one for the object itself, and a release a few KB.
type Desired struct {
	packed []byte
	// ends are where each object's JSON ends in the unpacked text.
	ends []int
}

// newDesired packs the objects of a manifest; settled are the same ones with
// the namespaces that they have in the cluster.
func newDesired(manifest string, key Key, settled []Object) (*Desired, error) {
	var packed bytes.Buffer
	writer, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("packing manifest: %w", err)
	}
	d := &Desired{}
	end := 0
	err = eachObject(manifest, func(object *unstructured.Unstructured) error {
		if len(d.ends) >= len(settled) {
			return errors.New("the manifest holds more objects than were found in it")
		}
		object.SetNamespace(settled[len(d.ends)].Namespace)
		drift.Mark(object, key.Namespace, key.Name)
		text, err := object.MarshalJSON()
		if err != nil {
			return err
		}
		end += len(text)
		d.ends = append(d.ends, end)
		_, err = writer.Write(text)
		return err
	})
	if err = errors.Join(err, writer.Close()); err != nil {
		return nil, fmt.Errorf("packing manifest: %w", err)
	}
	d.packed = bytes.Clone(packed.Bytes())
	return d, nil
}

// eachObject calls f for every object of a manifest, in its order. Numbers are
// as the API server's own decoder has them.
func eachObject(manifest string, f func(*unstructured.Unstructured) error) error {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		var raw runtime.RawExtension
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("parsing manifest: %w", err)
		}
		if text := bytes.TrimSpace(raw.Raw); len(text) == 0 || bytes.Equal(text, []byte("null")) || bytes.Equal(text, []byte("{}")) {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw.Raw); err != nil {
			return fmt.Errorf("parsing manifest: %w", err)
		}
		if err := f(object); err != nil {
			return err
		}
	}
}

// Objects returns those of the objects that indexes name, in their order.
func (d *Desired) Objects(indexes []int) ([]*unstructured.Unstructured, error) {
	objects := make([]*unstructured.Unstructured, len(indexes))
	if d == nil || len(indexes) == 0 {
		return objects, nil
	}
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(d.packed)))
	if err != nil {
		return nil, fmt.Errorf("unpacking manifest: %w", err)
	}
	for n, i := range indexes {
		if i >= len(d.ends) {
			continue
		}
		from := 0
		if i > 0 {
			from = d.ends[i-1]
		}
		objects[n] = &unstructured.Unstructured{}
		if err := objects[n].UnmarshalJSON(text[from:d.ends[i]]); err != nil {
			return nil, fmt.Errorf("unpacking manifest: %w", err)
		}
	}
	return objects, nil
}
