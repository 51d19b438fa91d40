package render

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// encodingBase64Gzip marks a file that is compressed, then written as base64.
const encodingBase64Gzip = "base64+gz"

// byteOrderMark is what some editors put before UTF-8 text; no parser wants it.
const byteOrderMark = "\xef\xbb\xbf"

// tree is the files of a bundle by their cleaned path.
type tree struct {
	content map[string][]byte
	paths   []string // sorted
}

// decodeTree reads the files of a bundle. All of them together may take up to
// limit bytes after decompression.
func decodeTree(resources []fleet.BundleResource, limit int64) (*tree, error) {
	t := &tree{content: make(map[string][]byte, len(resources))}
	left := limit
	for i, r := range resources {
		name, err := cleanPath(r.Name, i)
		if err != nil {
			return nil, err
		}
		if _, twice := t.content[name]; twice {
			return nil, fileErrorf(name, "the bundle holds two files of this path")
		}
		data, err := decodeResource(name, r, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(data))
		if left < 0 {
			return nil, tooLarge(name, limit)
		}
		t.put(name, bytes.TrimPrefix(data, []byte(byteOrderMark)))
	}
	slices.Sort(t.paths)
	return t, nil
}

// put adds a file; the caller keeps paths sorted.
func (t *tree) put(name string, data []byte) {
	if _, known := t.content[name]; !known {
		t.paths = append(t.paths, name)
	}
	t.content[name] = data
}

func (t *tree) has(name string) bool {
	_, ok := t.content[name]
	return ok
}

// isDir says whether a file lies below dir.
func (t *tree) isDir(dir string) bool {
	if dir == "." {
		return true
	}
	i, _ := slices.BinarySearch(t.paths, dir+"/")
	return i < len(t.paths) && strings.HasPrefix(t.paths[i], dir+"/")
}

// cleanPath returns the path of the i-th file inside the bundle. A file without
// a name is a manifest.
func cleanPath(name string, i int) (string, error) {
	if name == "" {
		return fmt.Sprintf("manifests/file%03d.yaml", i), nil
	}
	clean := path.Clean(name)
	if path.IsAbs(clean) || clean == "." || escapes(clean) {
		return "", fileErrorf(name, "the path leads out of the bundle")
	}
	return clean, nil
}

// escapes says whether a cleaned relative path leads above its root.
func escapes(clean string) bool {
	return clean == ".." || strings.HasPrefix(clean, "../")
}

// decodeResource returns the bytes of a file, but no more than one beyond limit.
func decodeResource(name string, r fleet.BundleResource, limit int64) ([]byte, error) {
	switch r.Encoding {
	case "":
		return []byte(r.Content), nil
	case encodingBase64Gzip:
	default:
		return nil, fileErrorf(name, "the encoding %q is not known", r.Encoding)
	}
	unzip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(r.Content)))
	if err != nil {
		return nil, &Error{File: name, Message: "the content is not base64-encoded gzip", Err: err}
	}
	// One byte more than allowed tells a file that just fits from one that does not.
	data, err := io.ReadAll(io.LimitReader(unzip, limit+1))
	if err != nil {
		return nil, &Error{File: name, Message: "the content is not base64-encoded gzip", Err: err}
	}
	return data, nil
}

func tooLarge(name string, limit int64) *Error {
	return fileErrorf(name, "the files of the bundle exceed %d bytes", limit)
}
