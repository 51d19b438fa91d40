package clusters

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Reasons of the conditions Processed and Imported. They are part of the API.
const (
	// ReasonProcessed: the cluster has its namespace, and its agent has access to it.
	ReasonProcessed = "Processed"
	// ReasonNamespaceConflict: a namespace of the name that the cluster needs belongs to something else.
	ReasonNamespaceConflict = "NamespaceConflict"
	// ReasonNamespaceTerminating: the namespace that the cluster needs is being deleted.
	ReasonNamespaceTerminating = "NamespaceTerminating"
	// ReasonHubError: the hub did not take what had to be written.
	ReasonHubError = "HubError"

	// ReasonImported: the agent's credentials and manifests are installed downstream.
	ReasonImported = "Imported"
	// ReasonRegistered: the agent registered itself, and its token is kept for it.
	ReasonRegistered = "Registered"
	// ReasonKubeconfigMissing: the Secret that spec.kubeConfigSecret names is not there, or has no kubeconfig.
	ReasonKubeconfigMissing = "KubeconfigMissing"
	// ReasonKubeconfigInvalid: the kubeconfig cannot be read, or holds what is not allowed.
	ReasonKubeconfigInvalid = "KubeconfigInvalid"
	// ReasonSpecInvalid: a setting of the agent cannot be used.
	ReasonSpecInvalid = "SpecInvalid"
	// ReasonNameTaken: a bundle has the name that the agent's own deployment needs.
	ReasonNameTaken = "NameTaken"
	// ReasonHubAddressMissing: it is not known how agents reach the hub.
	ReasonHubAddressMissing = "HubAddressMissing"
	// ReasonUnreachable: the cluster's API server does not answer.
	ReasonUnreachable = "Unreachable"
	// ReasonCertificateInvalid: the certificate of the cluster's API server is not trusted.
	ReasonCertificateInvalid = "CertificateInvalid"
	// ReasonUnauthorized: the cluster's API server does not accept the kubeconfig's credentials.
	ReasonUnauthorized = "Unauthorized"
	// ReasonForbidden: the kubeconfig's credentials may not install the agent.
	ReasonForbidden = "Forbidden"
	// ReasonInstallFailed: the cluster's API server did not take a manifest of the agent.
	ReasonInstallFailed = "InstallFailed"
)

// problem is what keeps a cluster from being processed or imported, as it is told to a user. The message is the same
// for the same cause, however often it is met, so that a retry changes no status.
type problem struct {
	Reason  string
	Message string
}

// Error returns the message.
func (p *problem) Error() string { return p.Message }

// downstreamProblem tells a user why a request to the cluster's API server failed.
func downstreamProblem(server string, err error) *problem {
	server = redacted(server)
	switch {
	case apierrors.IsUnauthorized(err):
		return &problem{ReasonUnauthorized, fmt.Sprintf("%s does not accept the credentials of the kubeconfig: renew them in the Secret", server)}
	case apierrors.IsForbidden(err):
		return &problem{ReasonForbidden, fmt.Sprintf("%v: grant it to the kubeconfig's user, or use another one", err)}
	case untrusted(err) != "":
		return &problem{ReasonCertificateInvalid, fmt.Sprintf("the certificate of %s is not trusted: %s: correct the certificate authority in the kubeconfig", server, untrusted(err))}
	case apierrors.ReasonForError(err) != "" && !apierrors.IsServiceUnavailable(err) && !apierrors.IsTooManyRequests(err):
		return &problem{ReasonInstallFailed, fmt.Sprintf("%v: correct the settings of the agent", err)}
	}
	return &problem{ReasonUnreachable, fmt.Sprintf("%s does not answer: %s: check the address in the kubeconfig and the network between hub and cluster", server, unreachable(err))}
}

// untrusted says what is wrong with a certificate, or nothing if that is not the cause.
func untrusted(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "its authority is unknown"
	case errors.As(err, &host):
		return "it is for another host name"
	case errors.As(err, &invalid):
		// The error's own text holds the time of day.
		if invalid.Reason == x509.Expired {
			return "it has expired or is not valid yet"
		}
		return "it is not valid"
	}
	return ""
}

// unreachable says why there was no answer, without the addresses and times that make each error text unique.
func unreachable(err error) string {
	var (
		dns  *net.DNSError
		wire *net.OpError
		call *url.Error
		sys  syscall.Errno
		slow interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return "no answer in time"
	case errors.As(err, &sys):
		return sys.Error()
	case errors.As(err, &wire):
		return wire.Err.Error()
	case errors.As(err, &call):
		return call.Err.Error()
	}
	return err.Error()
}

// redacted returns the URL of a server without the credentials that it may hold.
func redacted(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "the cluster's API server"
	}
	return u.Redacted()
}

// Bounds of what is done downstream for one cluster.
const (
	// requestTimeout bounds one request, connecting included.
	requestTimeout = 10 * time.Second
	// importTimeout bounds all requests of one attempt.
	importTimeout = 60 * time.Second
)
