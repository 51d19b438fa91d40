package deployments

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

// hubContents is a hub that counts what is read from it.
type hubContents struct {
	contents map[string]*fleet.Content
	err      error
	reads    int
}

func (h *hubContents) Get(_ context.Context, _, name string) (*fleet.Content, error) {
	h.reads++
	if h.err != nil {
		return nil, h.err
	}
	if c, ok := h.contents[name]; ok {
		return c, nil
	}
	return nil, apierrors.NewNotFound(fleet.SchemeGroupVersion.WithResource("contents").GroupResource(), name)
}

func (h *hubContents) add(t *testing.T, text string) string {
	t.Helper()
	encoded, err := bundle.Encode([]fleet.BundleResource{{Name: "a.yaml", Content: text}})
	if err != nil {
		t.Fatal(err)
	}
	if h.contents == nil {
		h.contents = map[string]*fleet.Content{}
	}
	h.contents[encoded.Name] = &fleet.Content{
		ObjectMeta: metav1.ObjectMeta{Name: encoded.Name}, Content: encoded.Data, SHA256Sum: encoded.SHA256,
	}
	return encoded.Name
}

func TestContentsAreReadOnce(t *testing.T) {
	hub := &hubContents{}
	name := hub.add(t, "x")
	c := newContents(hub)
	for range 3 {
		resources, err := c.get(t.Context(), name)
		if err != nil || len(resources) != 1 || resources[0].Content != "x" {
			t.Fatalf("resources are %v, %v", resources, err)
		}
	}
	if hub.reads != 1 {
		t.Errorf("the hub was asked %d times", hub.reads)
	}
}

func TestContentsThatWereNotUsedForLongAreForgotten(t *testing.T) {
	hub := &hubContents{}
	const third = maxCached / 3
	first, second := hub.add(t, strings.Repeat("1", third)), hub.add(t, strings.Repeat("2", third))
	third3, huge := hub.add(t, strings.Repeat("3", third)), hub.add(t, strings.Repeat("4", maxCached+1))
	c := newContents(hub)
	read := func(name string) int {
		t.Helper()
		before := hub.reads
		if _, err := c.get(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		return hub.reads - before
	}
	read(first)
	read(second)
	read(first) // used again: the second is the oldest now
	read(third3)
	read(huge) // too large to keep, and pushes nothing out
	if read(first) != 0 || read(third3) != 0 {
		t.Error("what was used last is forgotten")
	}
	if read(second) != 1 {
		t.Error("the oldest is kept")
	}
	if c.size > maxCached || len(c.byName) != c.recent.Len() {
		t.Errorf("%d bytes are kept, in %d and %d entries", c.size, len(c.byName), c.recent.Len())
	}
}

func TestErrorsAboutContentsDoNotNameThem(t *testing.T) {
	const name = "s-0123456789abcdef"
	resource := fleet.SchemeGroupVersion.WithResource("contents").GroupResource()
	for _, test := range []struct {
		name string
		err  error
		hub  bool
	}{
		{name: "missing"},
		{name: "forbidden", err: apierrors.NewForbidden(resource, name, errors.New("no"))},
		{name: "away", err: errors.New("get /apis/fleet.cattle.io/v1alpha1/contents/" + name + ": connection refused"), hub: true},
	} {
		_, err := newContents(&hubContents{err: test.err}).get(t.Context(), name)
		var hub *HubError
		if err == nil || errors.As(err, &hub) != test.hub || strings.Contains(err.Error(), name) {
			t.Errorf("%s: error is %v", test.name, err)
		}
	}
	hub := &hubContents{}
	real := hub.add(t, "x")
	hub.contents[real].Content = []byte("no gzip")
	if _, err := newContents(hub).get(t.Context(), real); err == nil || strings.Contains(err.Error(), real) {
		t.Errorf("damaged: error is %v", err)
	}
}
