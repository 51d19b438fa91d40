// Package stream watches a resource without keeping or, unless asked to, decoding what it sees, so that watching costs next to
// nothing beside what is measured.
package stream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// Types of events.
const (
	Added    = "ADDED"
	Modified = "MODIFIED"
	Deleted  = "DELETED"
)

// What comes with a watch, but is no change.
const (
	bookmark = "BOOKMARK"
	failure  = "ERROR"
)

// page is how many objects are listed at once.
const page = 500

// Event is one event of a watch. The object is its JSON and only valid while the event is handled.
type Event struct {
	Type   string
	Object []byte
}

// maxDuration is how long a watch may last; longer than any bench.
const maxDuration = 6 * time.Hour

// Watch calls f for every object of the resource that there is, as if it was just added, and for every change, in order, until
// ctx ends: then it returns nil. It is an error if events may have been missed. f must be quick: a busy API server drops watchers
// that do not keep up. One that was dropped goes on where it was.
func Watch(ctx context.Context, client rest.Interface, resource schema.GroupVersionResource, f func(Event)) error {
	w := &watch{client: client, resource: resource, handle: f}
	err := w.list(ctx)
	for err == nil {
		err = w.run(ctx)
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // however it ends then, it was to end
	}
	return fmt.Errorf("watching %s: %w", resource.Resource, err)
}

type watch struct {
	client   rest.Interface
	resource schema.GroupVersionResource
	handle   func(Event)
	// version is from when on to watch; last the event that came after it, if any did.
	version string
	last    []byte
}

func (w *watch) request() *rest.Request {
	return w.client.Get().AbsPath("/apis", w.resource.Group, w.resource.Version, w.resource.Resource).SetHeader("Accept", "application/json")
}

// list handles the objects that are there.
func (w *watch) list(ctx context.Context) error {
	next := ""
	for {
		data, err := w.request().Param("limit", strconv.Itoa(page)).Param("continue", next).DoRaw(ctx)
		if err != nil {
			return err
		}
		var list struct {
			Metadata metav1.ListMeta   `json:"metadata"`
			Items    []json.RawMessage `json:"items"`
		}
		if err := json.Unmarshal(data, &list); err != nil {
			return fmt.Errorf("decoding list: %w", err)
		}
		for _, item := range list.Items {
			w.handle(Event{Type: Added, Object: item})
		}
		w.version = list.Metadata.ResourceVersion
		if next = list.Metadata.Continue; next == "" {
			return nil
		}
	}
}

// run handles events until the watch ends, when it returns nil, or until something is wrong with it.
func (w *watch) run(ctx context.Context) error {
	if len(w.last) > 0 {
		version, err := versionOf(w.last)
		if err != nil {
			return err
		}
		w.version = version
	}
	body, err := w.request().Param("watch", "true").Param("timeoutSeconds", strconv.Itoa(int(maxDuration.Seconds()))).
		Param("allowWatchBookmarks", "true").Param("resourceVersion", w.version).Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return w.read(body)
}

// read handles every event of the body, one line each, up to its end.
func (w *watch) read(body io.Reader) error {
	lines := bufio.NewReaderSize(body, 1<<20)
	var long []byte
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, line...)
			continue
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		if len(long) > 0 {
			long = append(long, line...)
			line, long = long, nil
		}
		event, err := parse(line)
		if err != nil {
			return err
		}
		w.see(event)
	}
}

func (w *watch) see(e Event) {
	w.last = append(w.last[:0], e.Object...)
	if e.Type != bookmark {
		w.handle(e)
	}
}

// versionOf returns the resourceVersion of an object.
func versionOf(object []byte) (string, error) {
	var partial struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(object, &partial); err != nil {
		return "", fmt.Errorf("reading resourceVersion: %w", err)
	}
	if partial.Metadata.ResourceVersion == "" {
		return "", errors.New("reading resourceVersion: there is none")
	}
	return partial.Metadata.ResourceVersion, nil
}

// parse takes an event apart by the form that API servers give it, {"type":"ADDED","object":{…}}: the object is not looked at.
func parse(line []byte) (Event, error) {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte(`{"type":"`))
	kind, rest, closed := bytes.Cut(rest, []byte(`","object":`))
	if !ok || !closed || len(rest) < 2 || rest[len(rest)-1] != '}' {
		return Event{}, fmt.Errorf("%.200q is no event", line)
	}
	event := Event{Type: string(kind), Object: rest[:len(rest)-1]}
	if event.Type == failure {
		return Event{}, fmt.Errorf("the API server says %.500s", event.Object)
	}
	return event, nil
}
