package stream

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const synced = `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}`

func object(version string) string { return `{"metadata":{"resourceVersion":"` + version + `"}}` }

func event(kind, object string) string { return `{"type":"` + kind + `","object":` + object + `}` }

// served is an API server that answers one watch after the other with the given lines, and the queries of these watches.
type served struct {
	mu      sync.Mutex
	answers [][]string
	asked   []string
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	s.asked = append(s.asked, r.URL.Path+" from "+query.Get("resourceVersion")+" initial "+query.Get("sendInitialEvents"))
	var lines []string
	if len(s.answers) > 0 {
		lines, s.answers = s.answers[0], s.answers[1:]
	}
	for _, line := range lines {
		_, _ = fmt.Fprintln(w, line)
	}
}

// watched watches until the API server has nothing more to say, or until the watch fails.
func watched(t *testing.T, s *served, stopAfter int) ([]string, error) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	err = Watch(ctx, client.CoreV1().RESTClient(), schema.GroupVersionResource{Group: "g", Version: "v1", Resource: "things"}, func(e Event) {
		if got = append(got, e.Type+" "+string(e.Object)); len(got) == stopAfter {
			cancel()
		}
	})
	return got, err
}

func TestWatchGoesOnWhereItWas(t *testing.T) {
	s := &served{answers: [][]string{
		{event(Added, object("5")), event(Added, object("3")), synced, event(Modified, object("9"))},
		{},
		{event(Deleted, object("10"))},
		{event(Added, object("12"))},
	}}
	got, err := watched(t, s, 5)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ADDED " + object("5"), "ADDED " + object("3"), "MODIFIED " + object("9"), "DELETED " + object("10"), "ADDED " + object("12")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	asked := []string{
		"/apis/g/v1/things from  initial true",
		"/apis/g/v1/things from 9 initial ",
		"/apis/g/v1/things from 9 initial ",
		"/apis/g/v1/things from 10 initial ",
	}
	if diff := cmp.Diff(asked, s.asked); diff != "" {
		t.Error(diff)
	}
}

func TestWatchFailsWhereEventsMayBeMissed(t *testing.T) {
	for name, lines := range map[string][]string{
		"it ends before the first list is complete": {event(Added, object("5"))},
		"an error":                              {synced, `{"type":"ERROR","object":{"message":"too old"}}`},
		"no JSON":                               {synced, "<html>"},
		"another form, which is not understood": {synced, `{"object":{},"type":"ADDED"}`},
		"no object":                             {synced, `{"type":"ADDED","object":`},
	} {
		if got, err := watched(t, &served{answers: [][]string{lines}}, -1); err == nil {
			t.Errorf("%s: no error after %v", name, got)
		} else if name == "an error" && !strings.Contains(err.Error(), "too old") {
			t.Errorf("the error does not say why: %v", err)
		}
	}
}

func TestLongEventsAreRead(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", 3<<20) + `"}`
	got, err := watched(t, &served{answers: [][]string{{event(Added, long), event(Deleted, `{"a":"\",\"object\":"}`)}}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ADDED " + long, `DELETED {"a":"\",\"object\":"}`}, got); diff != "" {
		t.Error(diff)
	}
}
