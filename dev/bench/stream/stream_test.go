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

func object(version string) string { return `{"metadata":{"resourceVersion":"` + version + `"}}` }

func event(kind, object string) string { return `{"type":"` + kind + `","object":` + object + `}` }

// list is a page of a list as of version 7.
func list(next string, items ...string) []string {
	return []string{`{"metadata":{"resourceVersion":"7","continue":"` + next + `"},"items":[` + strings.Join(items, ",") + `]}`}
}

// served is an API server that answers one request after the other with the given lines, and what it was asked for.
type served struct {
	mu      sync.Mutex
	answers [][]string
	asked   []string
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	if query.Get("watch") == "true" {
		s.asked = append(s.asked, r.URL.Path+" watch from "+query.Get("resourceVersion"))
	} else {
		s.asked = append(s.asked, r.URL.Path+" list "+query.Get("continue"))
	}
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
		list("more", object("5"), object("3")),
		list("", object("2")),
		{},
		{event(Modified, object("9")), event("BOOKMARK", object("11"))},
		{event(Deleted, object("12"))},
		{event(Added, object("13"))},
	}}
	got, err := watched(t, s, 6)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ADDED " + object("5"), "ADDED " + object("3"), "ADDED " + object("2"),
		"MODIFIED " + object("9"), "DELETED " + object("12"), "ADDED " + object("13"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	asked := []string{
		"/apis/g/v1/things list ", "/apis/g/v1/things list more", "/apis/g/v1/things watch from 7",
		"/apis/g/v1/things watch from 7", "/apis/g/v1/things watch from 11", "/apis/g/v1/things watch from 12",
	}
	if diff := cmp.Diff(asked, s.asked); diff != "" {
		t.Error(diff)
	}
}

func TestWatchFailsWhereEventsMayBeMissed(t *testing.T) {
	for name, lines := range map[string][]string{
		"an error":                              {`{"type":"ERROR","object":{"message":"too old"}}`},
		"no JSON":                               {"<html>"},
		"another form, which is not understood": {`{"object":{},"type":"ADDED"}`},
		"no object":                             {`{"type":"ADDED","object":`},
	} {
		if got, err := watched(t, &served{answers: [][]string{list(""), lines}}, -1); err == nil {
			t.Errorf("%s: no error after %v", name, got)
		} else if name == "an error" && !strings.Contains(err.Error(), "too old") {
			t.Errorf("the error does not say why: %v", err)
		}
	}
	if got, err := watched(t, &served{answers: [][]string{{"<html>"}}}, -1); err == nil {
		t.Errorf("a list that cannot be read is no error after %v", got)
	}
}

func TestLongEventsAreRead(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", 3<<20) + `"}`
	quotes := `{"a":"\",\"object\":"}`
	got, err := watched(t, &served{answers: [][]string{list(""), {event(Added, long), event(Deleted, quotes)}}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ADDED " + long, "DELETED " + quotes}, got); diff != "" {
		t.Error(diff)
	}
}
