package clusters

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestDownstreamProblem(t *testing.T) {
	deployments := schema.GroupResource{Group: "apps", Resource: "deployments"}
	const server = "https://downstream.example.com:6443"
	wire := func(err error) error {
		return fmt.Errorf("reading Secret: %w", &url.Error{Op: "Get", URL: server + "/api", Err: err})
	}
	tests := []struct {
		name   string
		err    error
		reason string
		says   string
	}{
		{"credentials", apierrors.NewUnauthorized("nope"), ReasonUnauthorized, "renew them"},
		{"rights", apierrors.NewForbidden(deployments, "fleet-agent", errors.New("no")), ReasonForbidden, `deployments.apps "fleet-agent" is forbidden`},
		{"a manifest", apierrors.NewBadRequest("spec is wrong"), ReasonInstallFailed, "spec is wrong"},
		{"overload", apierrors.NewTooManyRequestsError("later"), ReasonUnreachable, "later"},
		{"no service", apierrors.NewServiceUnavailable("starting"), ReasonUnreachable, "starting"},
		{"unknown authority", wire(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), ReasonCertificateInvalid, "authority is unknown"},
		{"another host", wire(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}), ReasonCertificateInvalid, "another host name"},
		{"expired", wire(x509.CertificateInvalidError{Reason: x509.Expired, Detail: "current time " + time.Now().String()}), ReasonCertificateInvalid, "expired"},
		{"no such host", wire(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "downstream.example.com", IsNotFound: true}}), ReasonUnreachable, "no such host"},
		{"too slow", wire(context.DeadlineExceeded), ReasonUnreachable, "no answer in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := downstreamProblem(server, tt.err)
			if got.Reason != tt.reason || !strings.Contains(got.Message, tt.says) {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
		})
	}
}

// A condition whose message differs at each attempt would be written at each attempt.
func TestProblemsRepeatTheirWords(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hanging.Close)
	resetting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}))
	t.Cleanup(resetting.Close)
	strange := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(strange.Close)
	for name, server := range map[string]string{"closed": closed.URL, "hanging": hanging.URL, "resetting": resetting.URL, "strange": strange.URL} {
		// Only the one that hangs is worth giving up on: the others answer, if late on a busy machine.
		patience := time.Minute
		if name == "hanging" {
			patience = 100 * time.Millisecond
		}
		ask := func() string {
			client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := client.Get(server)
			if err == nil {
				_ = answer.Body.Close()
				t.Fatalf("%s: there is an answer", name)
			}
			return downstreamProblem(server, err).Message
		}
		first, second := ask(), ask()
		if first != second {
			t.Errorf("%s: the same cause in other words:\n%s\n%s", name, first, second)
		}
		if !strings.Contains(first, server) {
			t.Errorf("%s: the message does not name the server: %s", name, first)
		}
	}
}

func TestProblemsShowNoCredentials(t *testing.T) {
	got := downstreamProblem("https://user:CANARY@downstream.example.com", errors.New("refused"))
	if strings.Contains(got.Message, "CANARY") {
		t.Errorf("credentials in the message: %s", got.Message)
	}
}
