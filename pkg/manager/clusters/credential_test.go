package clusters

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestCredentialLife(t *testing.T) {
	asked := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	// The hub gives what it likes; the renewal follows what it gave.
	for _, life := range []time.Duration{24 * time.Hour, time.Hour, 10 * time.Minute} {
		c := issued(authenticationv1.TokenRequestStatus{Token: "t", ExpirationTimestamp: metav1.NewTime(asked.Add(life))}, asked)
		renew := asked.Add(life * 2 / 3)
		if !c.Renew.Equal(renew) {
			t.Errorf("a token that lives %s is renewed at %s, want %s", life, c.Renew, renew)
		}
		if c.due(asked) || c.due(renew.Add(-time.Second)) {
			t.Errorf("a token that lives %s is renewed early", life)
		}
		if !c.due(renew) || !c.due(renew.Add(life)) {
			t.Errorf("a token that lives %s is not renewed", life)
		}
	}
	if !(credential{}).due(asked) {
		t.Error("no token, and none is due")
	}
}

func TestCredentialIsKept(t *testing.T) {
	want := credential{
		Token: "t", Delivered: "digest",
		Expires: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Renew: time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, credentialFrom(want.secret("cluster-ns"))); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if _, ok := (credential{}).secret("ns").Annotations[names.AnnotationDelivered]; ok {
		t.Error("nothing was delivered, but the Secret says so")
	}
}

// What cannot be understood is replaced by a new token, never trusted.
func TestUnreadableCredentialIsNone(t *testing.T) {
	good := credential{Token: "t", Expires: time.Now().Add(time.Hour), Renew: time.Now().Add(time.Hour)}
	for name, change := range map[string]func(*corev1.Secret){
		"no expiry":      func(s *corev1.Secret) { delete(s.Annotations, names.AnnotationExpires) },
		"no renewal":     func(s *corev1.Secret) { delete(s.Annotations, names.AnnotationRenew) },
		"broken renewal": func(s *corev1.Secret) { s.Annotations[names.AnnotationRenew] = "tomorrow" },
		"no token":       func(s *corev1.Secret) { s.Data = nil },
	} {
		secret := good.secret("ns")
		change(secret)
		if !credentialFrom(secret).due(time.Now()) {
			t.Errorf("%s: no new token is due", name)
		}
	}
	if !credentialFrom(nil).due(time.Now()) {
		t.Error("no Secret: no new token is due")
	}
}
