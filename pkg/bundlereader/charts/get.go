package charts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// unreachableError means that no answer came, so that nothing is known.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

func asUnreachable(err error, target **unreachableError) bool { return errors.As(err, target) }

// request is a download.
type request struct {
	address string
	who     identity
	limit   int64   // in bytes
	known   archive // what there is already; it is returned if it still holds
}

// get downloads a file. Errors name its address.
func (s *Source) get(ctx context.Context, r request) (archive, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	a, err := s.exchange(ctx, r)
	if err != nil {
		return archive{}, fmt.Errorf("%s: %w", redact(r.address), err)
	}
	return a, nil
}

func (s *Source) exchange(ctx context.Context, r request) (archive, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address, nil)
	if err != nil {
		return archive{}, errors.New("the address cannot be parsed")
	}
	req.Header.Set("User-Agent", userAgent)
	if r.known.etag != "" {
		req.Header.Set("If-None-Match", r.known.etag)
	}
	if r.known.modified != "" {
		req.Header.Set("If-Modified-Since", r.known.modified)
	}
	auth := r.who.at(r.address)
	if auth != nil && (auth.Username != "" || auth.Password != "") {
		req.SetBasicAuth(auth.Username, auth.Password)
	}
	client, err := s.clientFor(auth)
	if err != nil {
		return archive{}, err
	}
	res, err := client.Do(req)
	if err != nil {
		return archive{}, transportError(ctx, err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified && r.known.data != nil:
		return r.known, nil
	case res.StatusCode >= http.StatusInternalServerError:
		return archive{}, &unreachableError{fmt.Errorf("the server answers %s", res.Status)}
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return archive{}, r.who.denied("the server answers "+res.Status, r.address)
	case res.StatusCode != http.StatusOK:
		return archive{}, fmt.Errorf("the server answers %s", res.Status)
	}
	data, err := readAll(ctx, res.Body, r.limit)
	if err != nil {
		return archive{}, err
	}
	return archive{data: data, etag: res.Header.Get("ETag"), modified: res.Header.Get("Last-Modified")}, nil
}

// readAll reads at most limit bytes; more are an error.
func readAll(ctx context.Context, body io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, transportError(ctx, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("the file has more than %d bytes", limit)
	}
	return data, nil
}

// transportError says why there was no answer, without the address, which the
// caller names.
func transportError(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return &unreachableError{fmt.Errorf("no answer within %s: %w", downloadTimeout, context.DeadlineExceeded)}
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return fmt.Errorf("%w (put the certificate of the authority that signed the server's under the key cacerts of the Secret that spec.helmSecretName names"+
			" or, by path, under caBundle, and the address into spec.helmRepoURLRegex)", err)
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return &unreachableError{err}
	}
	return err
}
