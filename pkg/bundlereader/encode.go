package bundlereader

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const (
	// compressed is the encoding of content that is packed, and then text again.
	compressed = "base64+gz"
	// compressFrom is the size of a bundle, as JSON, from which on everything in
	// it is compressed. It is part of what a content's name depends on.
	compressFrom = 1_000_000
)

// encode puts the files into the bundle, sorted by name. Text stays text unless
// the bundle gets too large.
func (b *builder) encode() error {
	size, err := b.setResources(false)
	if err == nil && size >= compressFrom {
		size, err = b.setResources(true)
	}
	if err != nil {
		return fmt.Errorf("encoding bundle %s: %w", b.name, err)
	}
	if limit := b.options.Limits.MaxBundleBytes; size > limit {
		return &problem{Finding{Severity: Error, File: b.folder.path, Message: fmt.Sprintf(
			"the bundle has %d bytes, compressed; the limit is %d. Split the folder, or keep out what is not to be deployed with a %s", size, limit, ignoreFile)}}
	}
	return nil
}

// setResources returns the size of the bundle as JSON.
func (b *builder) setResources(compress bool) (int, error) {
	files := b.contents.files
	resources := make([]fleet.BundleResource, 0, len(files))
	for _, name := range sortedNames(files) {
		resource := fleet.BundleResource{Name: name, Content: string(files[name])}
		if compress || !utf8.Valid(files[name]) {
			packed, err := pack(files[name])
			if err != nil {
				return 0, err
			}
			resource.Content, resource.Encoding = packed, compressed
		}
		resources = append(resources, resource)
	}
	b.bundle.Spec.Resources = resources
	encoded, err := json.Marshal(b.bundle)
	return len(encoded), err
}

func pack(content []byte) (string, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(content); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes()), nil
}

func sortedNames(files map[string][]byte) []string {
	return slices.Sorted(maps.Keys(files))
}
