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

// Event is one event of a watch. The object is its JSON and only valid while the event is handled.
type Event struct {
	Type   string
	Object []byte
}

// maxDuration is how long a watch may last; longer than any bench.
const maxDuration = 6 * time.Hour

// errEnded says that a watch has ended, without a word why.
var errEnded = errors.New("it has ended")

// Watch calls f for every object of the resource that there is, as if it was just added, and for every change, in order, until
// ctx ends: then it returns nil. It is an error if events may have been missed. f must be quick: a busy API server drops watchers
// that do not keep up. One that was dropped goes on where it was.
func Watch(ctx context.Context, client rest.Interface, resource schema.GroupVersionResource, f func(Event)) error {
	w := &watch{client: client, resource: resource, handle: f}
	for {
		err := w.run(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, errEnded) || !w.complete:
			return fmt.Errorf("watching %s: %w", resource.Resource, err)
		}
	}
}

type watch struct {
	client   rest.Interface
	resource schema.GroupVersionResource
	handle   func(Event)
	// complete says that the objects that were there at first have been seen; from then on it is enough to know the last event
	// to go on.
	complete bool
	last     []byte
}

func (w *watch) run(ctx context.Context) error {
	request := w.client.Get().AbsPath("/apis", w.resource.Group, w.resource.Version, w.resource.Resource).
		SetHeader("Accept", "application/json").
		Param("watch", "true").Param("timeoutSeconds", strconv.Itoa(int(maxDuration.Seconds()))).Param("allowWatchBookmarks", "true")
	if w.complete {
		version, err := versionOf(w.last)
		if err != nil {
			return err
		}
		request = request.Param("resourceVersion", version)
	} else {
		request = request.Param("sendInitialEvents", "true").Param("resourceVersionMatch", string(metav1.ResourceVersionMatchNotOlderThan))
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return w.read(body)
}

// read handles every event of the body, one line each.
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
			return errEnded
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
	if e.Type == bookmark {
		w.complete = w.complete || bytes.Contains(e.Object, []byte(`"`+metav1.InitialEventsAnnotationKey+`":"true"`))
		return
	}
	w.handle(e)
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
