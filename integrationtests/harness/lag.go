package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Photograph is what a kind of Fleet's API was at some time, all over the hub.
type Photograph struct {
	kind    string
	version string
	items   []json.RawMessage
}

// Photograph takes pictures of kinds, by plural, to be shown later by Line.ShowOld.
func (e *Environment) Photograph(t testing.TB, plurals ...string) map[string]Photograph {
	t.Helper()
	taken := map[string]Photograph{}
	for _, plural := range plurals {
		path := pathOf(plural)
		data, err := e.Kubernetes.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(t.Context())
		if err != nil {
			t.Fatalf("listing %s: %v", plural, err)
		}
		var list struct {
			Kind     string
			Metadata metav1.ListMeta
			Items    []json.RawMessage
		}
		if err := json.Unmarshal(data, &list); err != nil {
			t.Fatalf("reading list of %s: %v", plural, err)
		}
		taken[path] = Photograph{strings.TrimSuffix(list.Kind, "List"), list.Metadata.ResourceVersion, list.Items}
	}
	return taken
}

func pathOf(plural string) string { return "/apis/" + fleet.SchemeGroupVersion.String() + "/" + plural }

// ShowOld has caches that are filled from now on see the past, as from an API server that lags behind: they get the photographs and
// then hear nothing, until CatchUp. Reads of single objects and lists, which ask for the newest state, see the present.
func (l *Line) ShowOld(photographs map[string]Photograph) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.old, l.present = photographs, make(chan struct{})
}

// CatchUp ends ShowOld: what has happened since the photographs is told now.
func (l *Line) CatchUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.old = nil
	close(l.present)
}

// interfere answers a watch in the API server's place; nil leaves it to the API server.
func (l *Line) interfere(req *http.Request) *http.Response {
	l.mu.Lock()
	defer l.mu.Unlock()
	fills := req.URL.Query().Get("sendInitialEvents") == "true"
	if id := watchID(req); l.expired[id] {
		delete(l.expired, id)
		if !fills {
			return answerOf(req, http.StatusGone, bytes.NewReader(gone()))
		}
	}
	if photograph, ok := l.old[req.URL.Path]; ok && fills {
		return answerOf(req, http.StatusOK, io.MultiReader(photograph.stream(), &untilClosed{l.present, req.Context().Done()}))
	}
	return nil
}

func answerOf(req *http.Request, code int, body io.Reader) *http.Response {
	return &http.Response{
		Status: http.StatusText(code), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body), ContentLength: -1,
	}
}

// gone is how an API server says that it does not remember that far back.
func gone() []byte {
	data, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Reason: metav1.StatusReasonExpired, Code: http.StatusGone, Message: "the resourceVersion is too old",
	})
	return data
}

// stream tells the photograph in the way in which a watch begins that fills a cache.
func (p Photograph) stream() io.Reader {
	var out bytes.Buffer
	for _, item := range p.items {
		fmt.Fprintf(&out, `{"type":"ADDED","object":%s}`+"\n", item)
	}
	fmt.Fprintf(&out, `{"type":"BOOKMARK","object":{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":%q,"annotations":{%q:"true"}}}}`+"\n",
		p.kind, fleet.SchemeGroupVersion.String(), p.version, metav1.InitialEventsAnnotationKey)
	return &out
}

// untilClosed has nothing to read, and ends with either channel.
type untilClosed struct{ a, b <-chan struct{} }

func (u *untilClosed) Read([]byte) (int, error) {
	select {
	case <-u.a:
	case <-u.b:
	}
	return 0, io.EOF
}
