package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/skeema/knownhosts"

	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

// Reason says in one word why a repository could not be read. It is meant for
// conditions and metrics.
type Reason string

const (
	// Unreachable: no conversation with the server, or it broke off. Worth retrying.
	Unreachable Reason = "Unreachable"
	// AuthenticationFailed: the server wants other credentials.
	AuthenticationFailed Reason = "AuthenticationFailed"
	// NotFound: the server knows no such repository, or does not admit to it.
	NotFound Reason = "NotFound"
	// RefNotFound: the repository has no such branch, tag or commit.
	RefNotFound Reason = "RefNotFound"
	// TooLarge: the commit exceeds a limit.
	TooLarge Reason = "TooLarge"
	// Timeout: the server took longer than the limit allows.
	Timeout Reason = "Timeout"
	// TLS: the server's certificate is not trusted.
	TLS Reason = "TLS"
	// HostKey: the server's SSH host key is not the expected one.
	HostKey Reason = "HostKey"
	// Invalid: the request makes no sense, or the answer does not.
	Invalid Reason = "Invalid"
	// Damaged: the mirror on disk is broken. The next fetch replaces it.
	Damaged Reason = "Damaged"
)

// ErrNotFetched is returned by [Mirrors.Open] for a commit that is not on disk.
var ErrNotFetched = errors.New("the commit has not been fetched")

// errTooLarge is the cause of every error with reason TooLarge, and of reading
// a file that exceeds its limit.
var errTooLarge error = syscall.EFBIG

// Error is what goes wrong with a repository. No part of it holds a
// credential: causes are kept as redacted text.
type Error struct {
	// Op is what was being done, such as "fetching".
	Op string
	// URL is the address without user name and password.
	URL string
	// Reason classifies the error.
	Reason Reason
	// Hint tells the user what to do; it may be empty.
	Hint string
	// Err is the redacted cause.
	Err error
}

func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString(e.Op)
	if e.URL != "" {
		text.WriteString(" " + e.URL)
	}
	text.WriteString(": " + e.Err.Error())
	if e.Hint != "" {
		text.WriteString(" (" + e.Hint + ")")
	}
	return text.String()
}

func (e *Error) Unwrap() error { return e.Err }

// refusal is an error whose reason and hint are known.
type refusal struct {
	reason Reason
	hint   string
	text   string
	// kind is what callers tell it apart by; it may be nil.
	kind error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// fault turns err into an *Error: classified, redacted, bounded in length.
func fault(op string, addr address, secrets *redactor, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	shown := secrets.bare(err)
	return &Error{Op: op, URL: addr.String(), Reason: shown.reason, Hint: shown.hint, Err: shown}
}

// bare reduces err to what others may see of it, too: its reason, a hint, and
// redacted text. It keeps its identity only for what callers need to tell
// apart, because the original may hold credentials.
func (r *redactor) bare(err error) *refusal {
	shown := &refusal{reason: classify(err), text: r.clean(err.Error())}
	var refused *refusal
	if errors.As(err, &refused) {
		shown.hint = refused.hint
	}
	if shown.hint == "" {
		shown.hint = usualHint(shown.reason)
	}
	for _, kind := range []error{context.Canceled, context.DeadlineExceeded, errTooLarge} {
		if errors.Is(err, kind) {
			shown.kind = kind
			break
		}
	}
	if shown.reason == Timeout && shown.kind == nil {
		shown.kind = context.DeadlineExceeded
	}
	return shown
}

// usualHint says what to do about errors that arise where nothing is known of
// GitRepos.
func usualHint(reason Reason) string {
	switch reason {
	case TLS:
		return "put the certificate of the authority that signed the server's into spec.caBundle or, for charts, under the key cacerts of their Secret"
	case HostKey:
		return hintKnownHosts
	default:
		return ""
	}
}

// classify finds the reason of an error. The order matters: a deadline shows
// up wrapped in network errors, and a certificate error wrapped in both.
func classify(err error) Reason {
	var refused *refusal
	var linkLocal *transport.LinkLocalError
	var netErr net.Error
	switch {
	case errors.As(err, &refused):
		return refused.reason
	case errors.As(err, &linkLocal):
		return Invalid
	case errors.Is(err, errTooLarge):
		return TooLarge
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case isCertificateError(err):
		return TLS
	case knownhosts.IsHostKeyChanged(err), knownhosts.IsHostUnknown(err):
		return HostKey
	case errors.As(err, &netErr):
		if netErr.Timeout() {
			return Timeout
		}
		return Unreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return Unreachable
	case strings.Contains(err.Error(), "ssh: unable to authenticate"):
		return AuthenticationFailed
	default:
		return Invalid
	}
}

func isCertificateError(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		alert    tls.AlertError
	)
	return errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid) ||
		errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert)
}
