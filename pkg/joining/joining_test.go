package joining

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
func good() Facts {
	return Facts{
		Registration: &fleet.ClusterRegistration{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "request-1", Annotations: map[string]string{names.AnnotationCredential: "JTI=1"}},
			Spec:       fleet.ClusterRegistrationSpec{ClientID: "me", ClientRandom: random, ClusterLabels: map[string]string{"env": "dev"}},
		},
		Token:       &fleet.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "join"}},
		Credentials: []string{"JTI=2", "JTI=1"},
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
		edit   func(*Facts)
		step   Step
		reason string
	}{
		{"a cluster that nobody knows", func(*Facts) {}, Create, ""},
		{"a cluster that somebody made", func(f *Facts) { f.WithID = []*fleet.Cluster{cluster("c")} }, Claim, ""},
		{"claimed, its token is not made yet", func(f *Facts) { f.WithID = []*fleet.Cluster{cluster("c", claimedBy(random))} }, Wait, ""},
		{"claimed, its token is there", func(f *Facts) {
			f.WithID, f.Place = []*fleet.Cluster{cluster("c", claimedBy(random))}, &corev1.Secret{}
		}, Grant, ReasonGranted},
		{"claimed by another", func(f *Facts) {
			f.WithID, f.Place = []*fleet.Cluster{cluster("c", claimedBy("other"))}, &corev1.Secret{}
		}, Refuse, ReasonClientIDTaken},
		{"two clusters", func(f *Facts) { f.WithID = []*fleet.Cluster{cluster("a"), cluster("b")} }, Refuse, ReasonClientIDAmbiguous},
		{"imported", func(f *Facts) {
			f.WithID = []*fleet.Cluster{cluster("c", func(c *fleet.Cluster) { c.Spec.KubeConfigSecret = "s" })}
		}, Refuse, ReasonImported},
		{"leaving", func(f *Facts) {
			f.WithID = []*fleet.Cluster{cluster("c", func(c *fleet.Cluster) { c.DeletionTimestamp = &metav1.Time{} })}
		}, Refuse, ReasonLeaving},
		{"the name is taken", func(f *Facts) { f.Named = cluster(names.RegisteredCluster("me")) }, Refuse, ReasonNameTaken},
		{"the token is gone", func(f *Facts) { f.Token = nil }, Refuse, ReasonTokenUnknown},
		{"not made with a token", func(f *Facts) { f.Registration.Annotations = nil }, Refuse, ReasonTokenUnknown},
		{"not made with this token", func(f *Facts) { f.Credentials = []string{"JTI=3"} }, Refuse, ReasonTokenUnknown},
		{"a token without a Secret", func(f *Facts) { f.Credentials = nil; f.Registration.Annotations[names.AnnotationCredential] = "" }, Refuse, ReasonTokenUnknown},
		{"the token has expired", func(f *Facts) { f.Life.Over = true }, Refuse, ReasonTokenExpired},
		{"a token for another", func(f *Facts) { f.Token.Annotations = map[string]string{names.AnnotationOnlyClient: "you"} }, Refuse, ReasonTokenForAnother},
		{"a token for this cluster", func(f *Facts) { f.Token.Annotations = map[string]string{names.AnnotationOnlyClient: "me"} }, Create, ""},
		{"no clientID", func(f *Facts) { f.Registration.Spec.ClientID = "" }, Refuse, ReasonInvalid},
		{"a long clientID", func(f *Facts) { f.Registration.Spec.ClientID = strings.Repeat("x", 254) }, Refuse, ReasonInvalid},
		{"a clientRandom that can be guessed", func(f *Facts) { f.Registration.Spec.ClientRandom = "1" }, Refuse, ReasonInvalid},
		{"a bad label", func(f *Facts) { f.Registration.Spec.ClusterLabels = map[string]string{"a b": "c"} }, Refuse, ReasonInvalid},
		{"a bad value", func(f *Facts) { f.Registration.Spec.ClusterLabels = map[string]string{"a": "b c"} }, Refuse, ReasonInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := good()
			tt.edit(&f)
			d := f.Decide()
			if d.Step != tt.step || d.Reason != tt.reason {
				t.Errorf("step %d, reason %q (%s), want step %d, reason %q", d.Step, d.Reason, d.Message, tt.step, tt.reason)
			}
			if (d.Message != "") != (d.Step == Refuse) {
				t.Errorf("message %q", d.Message)
			}
		})
	}
}

func TestNewCluster(t *testing.T) {
	f := good()
	f.Registration.Spec.ClusterLabels = map[string]string{
		"env": "dev", "fleet.cattle.io/managed": "true", "management.cattle.io/x": "y", names.LabelCreatedByAgentPod: "pod",
	}
	c := f.Decide().Cluster
	if c.Name != names.RegisteredCluster("me") || c.Namespace != "ws" || c.Spec.ClientID != "me" {
		t.Errorf("cluster %v", c)
	}
	if len(c.Labels) != 2 || c.Labels["env"] != "dev" || c.Labels[names.LabelCreatedByAgentPod] != "pod" {
		t.Errorf("labels %v", c.Labels)
	}
	f.IgnoreLabels = true
	if c := f.Decide().Cluster; len(c.Labels) != 0 {
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
		got := LifeOf(token, tt.limit, made.Add(tt.age))
		want := time.Time{}
		if tt.ends > 0 {
			want = made.Add(tt.ends)
		}
		if !got.Ends.Equal(want) || got.Over != tt.over {
			t.Errorf("%s: ends %s, over %t", tt.name, got.Ends, got.Over)
		}
	}
}
