package registrations

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var random = strings.Repeat("r", 64)

// good are the facts of a first registration that is all right.
func good() facts {
	return facts{
		registration: &fleet.ClusterRegistration{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "request-1", Annotations: map[string]string{names.AnnotationCredential: "JTI=1"}},
			Spec:       fleet.ClusterRegistrationSpec{ClientID: "me", ClientRandom: random, ClusterLabels: map[string]string{"env": "dev"}},
		},
		token:       &fleet.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "join"}},
		credentials: []string{"JTI=2", "JTI=1"},
	}
}

func cluster(name string, edits ...func(*fleet.Cluster)) *fleet.Cluster {
	c := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: name}, Spec: fleet.ClusterSpec{ClientID: "me"}}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

func claimedBy(clientRandom string) func(*fleet.Cluster) {
	return func(c *fleet.Cluster) {
		c.Annotations = map[string]string{names.AnnotationRegistered: names.Registration("me", clientRandom)}
	}
}

func TestDecide(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(*facts)
		step   step
		reason string
	}{
		{"a cluster that nobody knows", func(*facts) {}, stepCreate, ""},
		{"a cluster that somebody made", func(f *facts) { f.withID = []*fleet.Cluster{cluster("c")} }, stepClaim, ""},
		{"claimed, its token is not made yet", func(f *facts) { f.withID = []*fleet.Cluster{cluster("c", claimedBy(random))} }, stepWait, ""},
		{"claimed, its token is there", func(f *facts) {
			f.withID, f.place = []*fleet.Cluster{cluster("c", claimedBy(random))}, &corev1.Secret{}
		}, stepGrant, ReasonGranted},
		{"claimed by another", func(f *facts) {
			f.withID, f.place = []*fleet.Cluster{cluster("c", claimedBy("other"))}, &corev1.Secret{}
		}, stepRefuse, ReasonClientIDTaken},
		{"two clusters", func(f *facts) { f.withID = []*fleet.Cluster{cluster("a"), cluster("b")} }, stepRefuse, ReasonClientIDAmbiguous},
		{"imported", func(f *facts) {
			f.withID = []*fleet.Cluster{cluster("c", func(c *fleet.Cluster) { c.Spec.KubeConfigSecret = "s" })}
		}, stepRefuse, ReasonImported},
		{"leaving", func(f *facts) {
			f.withID = []*fleet.Cluster{cluster("c", func(c *fleet.Cluster) { c.DeletionTimestamp = &metav1.Time{} })}
		}, stepRefuse, ReasonLeaving},
		{"the name is taken", func(f *facts) { f.named = cluster(names.RegisteredCluster("me")) }, stepRefuse, ReasonNameTaken},
		{"the token is gone", func(f *facts) { f.token = nil }, stepRefuse, ReasonTokenUnknown},
		{"not made with a token", func(f *facts) { f.registration.Annotations = nil }, stepRefuse, ReasonTokenUnknown},
		{"not made with this token", func(f *facts) { f.credentials = []string{"JTI=3"} }, stepRefuse, ReasonTokenUnknown},
		{"a token without a Secret", func(f *facts) { f.credentials = nil; f.registration.Annotations[names.AnnotationCredential] = "" }, stepRefuse, ReasonTokenUnknown},
		{"the token has expired", func(f *facts) { f.life.over = true }, stepRefuse, ReasonTokenExpired},
		{"a token for another", func(f *facts) { f.token.Annotations = map[string]string{names.AnnotationOnlyClient: "you"} }, stepRefuse, ReasonTokenForAnother},
		{"a token for this cluster", func(f *facts) { f.token.Annotations = map[string]string{names.AnnotationOnlyClient: "me"} }, stepCreate, ""},
		{"no clientID", func(f *facts) { f.registration.Spec.ClientID = "" }, stepRefuse, ReasonInvalid},
		{"a long clientID", func(f *facts) { f.registration.Spec.ClientID = strings.Repeat("x", 254) }, stepRefuse, ReasonInvalid},
		{"a clientRandom that can be guessed", func(f *facts) { f.registration.Spec.ClientRandom = "1" }, stepRefuse, ReasonInvalid},
		{"a bad label", func(f *facts) { f.registration.Spec.ClusterLabels = map[string]string{"a b": "c"} }, stepRefuse, ReasonInvalid},
		{"a bad value", func(f *facts) { f.registration.Spec.ClusterLabels = map[string]string{"a": "b c"} }, stepRefuse, ReasonInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := good()
			tt.edit(&f)
			d := f.decide()
			if d.step != tt.step || d.reason != tt.reason {
				t.Errorf("step %d, reason %q (%s), want step %d, reason %q", d.step, d.reason, d.message, tt.step, tt.reason)
			}
			if (d.message != "") != (d.step == stepRefuse) {
				t.Errorf("message %q", d.message)
			}
		})
	}
}

func TestNewCluster(t *testing.T) {
	f := good()
	f.registration.Spec.ClusterLabels = map[string]string{
		"env": "dev", "fleet.cattle.io/managed": "true", "management.cattle.io/x": "y", names.LabelCreatedByAgentPod: "pod",
	}
	c := f.decide().cluster
	if c.Name != names.RegisteredCluster("me") || c.Namespace != "ws" || c.Spec.ClientID != "me" {
		t.Errorf("cluster %v", c)
	}
	if len(c.Labels) != 2 || c.Labels["env"] != "dev" || c.Labels[names.LabelCreatedByAgentPod] != "pod" {
		t.Errorf("labels %v", c.Labels)
	}
	f.ignoreLabels = true
	if c := f.decide().cluster; len(c.Labels) != 0 {
		t.Errorf("labels %v, though they are to be ignored", c.Labels)
	}
}

func TestLifeOf(t *testing.T) {
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	hours := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Hour} }
	tests := []struct {
		name  string
		ttl   *metav1.Duration
		limit time.Duration
		age   time.Duration
		ends  time.Duration // after made; 0 never
		over  bool
	}{
		{"for ever", nil, 0, 1e6 * time.Hour, 0, false},
		{"0 is for ever", hours(0), 0, time.Hour, 0, false},
		{"young", hours(2), 0, time.Hour, 2 * time.Hour, false},
		{"at its end", hours(2), 0, 2 * time.Hour, 2 * time.Hour, true},
		{"limited", hours(5), time.Hour, 30 * time.Minute, time.Hour, false},
		{"for ever, limited", nil, time.Hour, time.Hour, time.Hour, true},
		{"shorter than the limit", hours(1), 3 * time.Hour, 0, time.Hour, false},
	}
	for _, tt := range tests {
		token := &fleet.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(made)}}
		token.Spec.TTL = tt.ttl
		got := lifeOf(token, tt.limit, made.Add(tt.age))
		want := time.Time{}
		if tt.ends > 0 {
			want = made.Add(tt.ends)
		}
		if !got.ends.Equal(want) || got.over != tt.over {
			t.Errorf("%s: ends %s, over %t", tt.name, got.ends, got.over)
		}
	}
}
