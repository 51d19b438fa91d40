package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/pkg/agent/registration"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestWhatAnAgentDoesAboutItsMembership(t *testing.T) {
	bootstrap := &registration.Bootstrap{Hub: kube.Address{URL: "https://hub"}, Workspace: "ws", ClientID: "me"}
	elsewhere := &registration.Bootstrap{Hub: kube.Address{URL: "https://other"}, Workspace: "ws", ClientID: "me"}
	due := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	secret := func(annotations map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}
	}
	joined := secret(map[string]string{names.AnnotationRegistered: bootstrap.Identity(), names.AnnotationRenew: due.Format(time.RFC3339)})
	imported := secret(map[string]string{names.AnnotationApplied: "x"})
	tests := []struct {
		name  string
		state situation
		want  errand
	}{
		{"nothing is known yet", situation{bootstrap: bootstrap}, nothing},
		{"there is nothing", situation{known: true}, nothing},
		{"it can register", situation{known: true, bootstrap: bootstrap}, register},
		{"it has registered", situation{known: true, bootstrap: bootstrap, own: joined}, renew},
		{"the hub does not accept it any more", situation{known: true, bootstrap: bootstrap, own: joined, rejected: true}, register},
		{"that, and it has nothing to register with", situation{known: true, own: joined, rejected: true}, renew},
		{"another hub", situation{known: true, bootstrap: elsewhere, own: joined}, register},
		{"installed from the hub", situation{known: true, own: imported}, nothing},
		{"installed from the hub, and a chart as well", situation{known: true, bootstrap: bootstrap, own: imported, rejected: true}, nothing},
	}
	for _, tt := range tests {
		got, when := tt.state.next()
		if got != tt.want {
			t.Errorf("%s: errand %d, want %d", tt.name, got, tt.want)
		}
		if want := (time.Time{}); got == renew && !when.Equal(due) || got != renew && !when.Equal(want) {
			t.Errorf("%s: at %s", tt.name, when)
		}
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	passing, refused := errors.New("no answer"), &registration.RefusedError{Reason: "taken"}
	for tries, want := range map[int]time.Duration{1: time.Second, 3: 4 * time.Second, 50: time.Minute} {
		if got := pause(tries, passing); got < want || got > want+time.Second {
			t.Errorf("after %d tries %s, want %s", tries, got, want)
		}
	}
	for tries, want := range map[int]time.Duration{1: 30 * time.Second, 50: 10 * time.Minute} {
		if got := pause(tries, refused); got < want || got > want+30*time.Second {
			t.Errorf("refused %d times %s, want %s", tries, got, want)
		}
	}
}

// TestJoiningEndsWhileItRegisters: an agent that is stopped while its
// registration fails stops.
func TestJoiningEndsWhileItRegisters(t *testing.T) {
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(t.Output())
	j := newJoining(client, "agent", log)
	j.owns(nil)
	j.change(func(s *situation) {
		s.bootstrap = &registration.Bootstrap{Hub: kube.Address{URL: "http://127.0.0.1:1"}, Token: "a.b.c", Workspace: "w", ClientID: "c"}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- j.run(ctx) }()
	deadline, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	case <-deadline.Done():
		t.Error("it goes on registering")
	}
}
