package chartserver

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
)

// Archive packs files as charts are packed.
func Archive(files map[string]string) ([]byte, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	return packed.Bytes(), nil
}

// Repository is a chart repository: a server of files with an index.
type Repository struct{ *server }

// StartRepository serves files by their path, until Close.
func StartRepository(options Options, files map[string][]byte) (*Repository, error) {
	s, err := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		content, found := files[r.URL.Path]
		switch {
		case user != options.Username || password != options.Password:
			w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
		case !found:
			http.NotFound(w, r)
		default:
			_, _ = w.Write(content)
		}
	}), options.TLS)
	if err != nil {
		return nil, err
	}
	return &Repository{s}, nil
}

// URL is the address of the repository.
func (r *Repository) URL() string {
	if len(r.ca) > 0 {
		return "https://" + r.Address()
	}
	return "http://" + r.Address()
}
