package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// flaky is an API server with one namespace, which can go away.
type flaky struct {
	*httptest.Server
	// away has it break off every request; unavailable has it answer that what
	// is behind it is away.
	away, unavailable atomic.Bool
	// asked is told of every watch that was asked for in vain.
	asked chan struct{}
	// silent is told when a client has noted that there is no answer.
	silent chan struct{}
}

// Levels and Fire make a flaky hear what its clients say.
func (f *flaky) Levels() []logrus.Level { return []logrus.Level{logrus.WarnLevel} }

func (f *flaky) Fire(*logrus.Entry) error {
	f.silent <- struct{}{}
	return nil
}

func newFlaky(t *testing.T) *flaky {
	f := &flaky{asked: make(chan struct{}, 100), silent: make(chan struct{}, 100)}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watches := r.URL.Query().Get("watch") == "true"
		switch away, unavailable := f.away.Load(), f.unavailable.Load(); {
		case away || unavailable && watches:
			if watches {
				f.asked <- struct{}{}
			}
			if !away {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		case watches:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"type":"ADDED","object":{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"there"}}}`)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"there"}}`)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// client returns one whose watches wait so long before they try by themselves.
func (f *flaky) client(t *testing.T, pause time.Duration) kubernetes.Interface {
	log := logrus.New()
	log.SetOutput(t.Output())
	log.AddHook(f)
	client, err := kubernetes.NewForConfig(reconnecting(&rest.Config{Host: f.URL, QPS: -1}, &reach{first: pause, longest: pause, log: log}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// watching asks for a watch, and returns what comes of it.
func watching(ctx context.Context, client kubernetes.Interface) <-chan error {
	came := make(chan error, 1)
	go func() {
		w, err := client.CoreV1().Namespaces().Watch(ctx, metav1.ListOptions{})
		if err == nil {
			if e := <-w.ResultChan(); e.Type != watch.Added || e.Object.(*corev1.Namespace).Name != "there" {
				err = errors.New("another event")
			}
			w.Stop()
		}
		came <- err
	}()
	return came
}

// TestWatchesGoOnWithTheFirstAnswer: a watch that would try by itself in hours
// comes back as soon as anything else gets an answer.
func TestWatchesGoOnWithTheFirstAnswer(t *testing.T) {
	f := newFlaky(t)
	client := f.client(t, 1000*time.Hour)
	f.away.Store(true)
	came := watching(t.Context(), client)
	// The watch waits: nobody else has asked yet. That it was asked for is not enough: its failure must not come after the answer.
	<-f.silent
	get := func() error {
		return client.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/there").MaxRetries(0).Do(t.Context()).Error()
	}
	if get() == nil {
		t.Error("a read was not told that nobody answers")
	}
	f.away.Store(false)
	if err := get(); err != nil {
		t.Fatal(err)
	}
	if err := <-came; err != nil {
		t.Error(err)
	}
}

// TestWatchesTryByThemselves: nobody else need ask.
func TestWatchesTryByThemselves(t *testing.T) {
	for name, gone := range map[string]func(*flaky) *atomic.Bool{
		"away":        func(f *flaky) *atomic.Bool { return &f.away },
		"unavailable": func(f *flaky) *atomic.Bool { return &f.unavailable },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlaky(t)
			client := f.client(t, time.Millisecond)
			gone(f).Store(true)
			came := watching(t.Context(), client)
			<-f.asked
			<-f.asked
			gone(f).Store(false)
			if err := <-came; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWatchesThatAreGivenUp end, however long they would have waited.
func TestWatchesThatAreGivenUp(t *testing.T) {
	f := newFlaky(t)
	f.away.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	came := watching(ctx, f.client(t, 1000*time.Hour))
	<-f.asked
	cancel()
	if err := <-came; err == nil {
		t.Error("it was given a watch")
	}
}

// TestWhatIsBehindAnAnswer: an API that is unavailable behind one that answers
// wakes nobody, and is asked no more often for the others' answers.
func TestWhatIsBehindAnAnswer(t *testing.T) {
	f := newFlaky(t)
	client := f.client(t, 1000*time.Hour)
	f.unavailable.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	came := watching(ctx, client)
	<-f.asked
	for range 100 {
		if _, err := client.CoreV1().Namespaces().Get(t.Context(), "there", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-came
	if n := len(f.asked); n > 0 {
		t.Errorf("%d watches more were asked for", n)
	}
}
