package bundle

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Content is what is stored in a Content object.
type Content struct {
	// Name of the Content object. It depends on the resources alone.
	Name string
	// SHA256 is the digest of the uncompressed JSON, in hexadecimal.
	SHA256 string
	// Data is the gzipped JSON.
	Data []byte
}

// manifest is the JSON of a content.
type manifest struct {
	Resources []fleet.BundleResource `json:"resources,omitempty"`
}

// ErrTooLarge says that a content is larger, uncompressed, than the caller allows.
var ErrTooLarge = errors.New("content is too large")

// ErrDigest says that a content is not the one that its name or digest promises.
var ErrDigest = errors.New("content does not match its digest")

// Encode returns the content that holds the resources, in the given order.
func Encode(resources []fleet.BundleResource) (Content, error) {
	raw, err := marshal(manifest{Resources: resources})
	if err != nil {
		return Content{}, fmt.Errorf("encoding resources: %w", err)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(raw); err != nil {
		return Content{}, fmt.Errorf("compressing resources: %w", err)
	}
	if err := zip.Close(); err != nil {
		return Content{}, fmt.Errorf("compressing resources: %w", err)
	}
	digest := sha256Hex(raw)
	return Content{Name: names.Content(digest), SHA256: digest, Data: packed.Bytes()}, nil
}

// Decode returns the resources of a content's Data. Uncompressed it must not have more than maxBytes bytes, else the
// error is ErrTooLarge; no more than that is ever unpacked.
func Decode(gz []byte, maxBytes int64) ([]fleet.BundleResource, error) {
	raw, err := unpack(gz, maxBytes)
	if err != nil {
		return nil, err
	}
	return decodeManifest(raw)
}

// Open returns the resources of a Content object after it has checked them against the object's digest and name, so
// that whoever can write Contents cannot pass one off as another. See Decode for maxBytes. A mismatch is ErrDigest.
func Open(content *fleet.Content, maxBytes int64) ([]fleet.BundleResource, error) {
	raw, err := unpack(content.Content, maxBytes)
	if err != nil {
		return nil, err
	}
	digest := sha256Hex(raw)
	if digest != content.SHA256Sum || names.Content(digest) != content.Name {
		return nil, ErrDigest
	}
	return decodeManifest(raw)
}

func unpack(gz []byte, maxBytes int64) ([]byte, error) {
	zip, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return nil, fmt.Errorf("decompressing content: %w", err)
	}
	// One byte more than is allowed tells too much from just enough.
	raw, err := io.ReadAll(io.LimitReader(zip, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("decompressing content: %w", err)
	}
	if int64(len(raw)) > maxBytes {
		return nil, fmt.Errorf("decompressing content of more than %d bytes: %w", maxBytes, ErrTooLarge)
	}
	return raw, nil
}

func decodeManifest(raw []byte) ([]fleet.BundleResource, error) {
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		// The cause would quote what it could not read.
		return nil, errors.New("decoding content: it is not the JSON of a list of resources")
	}
	return m.Resources, nil
}

// marshal is the encoding that all digests are taken of: HTML characters escaped, map keys sorted, one newline at the end.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	if err := json.NewEncoder(&buf).Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
