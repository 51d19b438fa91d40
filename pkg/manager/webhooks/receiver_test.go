package webhooks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/webhook"
)

const (
	value = "hunter2-hunter2"
	body  = `{"ref":"refs/heads/main","after":"0123456789abcdef0123456789abcdef01234567","repository":{"html_url":"https://git.example/team/web"}}`
)

// hub is what a receiver sees of the hub.
type hub struct {
	repos    []*fleet.GitRepo
	secrets  map[kube.Key][]byte
	away     error
	recorded int
	log      bytes.Buffer
}

func (h *hub) GetByIndex(_, key string) ([]*fleet.GitRepo, error) {
	var found []*fleet.GitRepo
	for _, repo := range h.repos {
		if name, _ := webhook.Repository(repo.Spec.Repo); name == key {
			found = append(found, repo)
		}
	}
	return found, nil
}

func (h *hub) MergeStatus(context.Context, *fleet.GitRepo, map[string]any) error {
	h.recorded++
	return h.away
}

func (h *hub) Get(_ context.Context, key kube.Key) (*corev1.Secret, error) {
	data, ok := h.secrets[key]
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	return &corev1.Secret{Data: map[string][]byte{"github": data}}, h.away
}

func receiver(h *hub) *Receiver {
	log := logrus.New()
	log.SetOutput(&h.log)
	log.SetLevel(logrus.DebugLevel)
	r := newReceiver(Deps{
		Secrets: h, Secret: kube.Key{Namespace: "system", Name: "gitjob-webhook"}, Log: log, Clock: clock.RealClock{},
		Count: func(string, string) {},
	})
	r.gitrepos, r.cache, r.synced = h, h, func() bool { return true }
	return r
}

func shop() *hub {
	return &hub{
		repos: []*fleet.GitRepo{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"}, Spec: fleet.GitRepoSpec{Repo: "git@git.example:Team/Web.git", Branch: "main"},
		}},
		secrets: map[kube.Key][]byte{{Namespace: "system", Name: "gitjob-webhook"}: []byte(value)},
	}
}

func request(method string, body io.Reader, key string, signed []byte) *http.Request {
	req := httptest.NewRequest(method, "/", body)
	req.Header.Set("X-Github-Event", "push")
	if key != "" {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(signed)
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return req
}

func TestAnswers(t *testing.T) {
	chunked := func(body string) io.Reader { return io.MultiReader(strings.NewReader(body)) }
	tests := []struct {
		name     string
		hub      func(*hub)
		receiver func(*Receiver)
		req      *http.Request
		want     int
		recorded int
	}{
		{"a push", nil, nil, request("POST", strings.NewReader(body), value, []byte(body)), 200, 1},
		{"a push in chunks", nil, nil, request("POST", chunked(body), value, []byte(body)), 200, 1},
		{"read, not delivered", nil, nil, request("GET", nil, value, nil), 405, 0},
		{"unsigned", nil, nil, request("POST", strings.NewReader(body), "", nil), 401, 0},
		{"forged", nil, nil, request("POST", strings.NewReader(body), "x", []byte(body)), 401, 0},
		{"signed for another body", nil, nil, request("POST", strings.NewReader(body+" "), value, []byte(body)), 401, 0},
		{"there is no secret", func(h *hub) { h.secrets = nil }, nil, request("POST", strings.NewReader(body), value, []byte(body)), 401, 0},
		{"the secret is empty", func(h *hub) { h.secrets[kube.Key{Namespace: "system", Name: "gitjob-webhook"}] = nil }, func(r *Receiver) { r.AllowUnsigned = true },
			request("POST", strings.NewReader(body), "", nil), 401, 0},
		{"there is no secret, and needs none", func(h *hub) { h.secrets = nil }, func(r *Receiver) { r.AllowUnsigned = true },
			request("POST", strings.NewReader(body), "", nil), 200, 1},
		{"its own secret is missing, where none is needed", func(h *hub) { h.secrets, h.repos[0].Spec.WebhookSecret = nil, "mine" }, func(r *Receiver) { r.AllowUnsigned = true },
			request("POST", strings.NewReader(body), "", nil), 200, 0},
		{"too large", nil, nil, request("POST", strings.NewReader(strings.Repeat(" ", MaxBody+1)), "", nil), 413, 0},
		{"too large in chunks", nil, nil, request("POST", chunked(strings.Repeat(" ", MaxBody+1)), "", nil), 413, 0},
		{"not a host that is known", nil, nil, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), 400, 0},
		{"the API server is away", func(h *hub) { h.away = errors.New("away") }, nil, request("POST", strings.NewReader(body), value, []byte(body)), 503, 0},
		{"the caches are empty", nil, func(r *Receiver) { r.synced = func() bool { return false } }, request("POST", strings.NewReader(body), value, []byte(body)), 503, 0},
		{"memory is taken", nil, func(r *Receiver) { r.memory.left = 10 }, request("POST", strings.NewReader(body), value, []byte(body)), 503, 0},
		{"a panic", nil, func(r *Receiver) { r.cache = nil }, request("POST", strings.NewReader(body), value, []byte(body)), 500, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := shop()
			if tt.hub != nil {
				tt.hub(h)
			}
			r := receiver(h)
			if tt.receiver != nil {
				tt.receiver(r)
			}
			left, res := r.memory.left, httptest.NewRecorder()
			r.ServeHTTP(res, tt.req)
			if res.Code != tt.want || h.recorded != tt.recorded {
				t.Errorf("answer %d %s, recorded %d; want %d, %d", res.Code, res.Body, h.recorded, tt.want, tt.recorded)
			}
			if r.memory.left != left {
				t.Errorf("%d bytes are not given back", left-r.memory.left)
			}
			if told := res.Body.String() + h.log.String(); strings.Contains(told, value) {
				t.Errorf("the secret is told: %s", told)
			}
			if retry := res.Header().Get("Retry-After"); (res.Code == 503) != (retry != "") {
				t.Errorf("Retry-After is %q", retry)
			}
		})
	}
}

func FuzzServeHTTP(f *testing.F) {
	f.Add("X-Github-Event", "push", []byte(body))
	f.Add("X-Gitlab-Event", "Push Hook", []byte(`{"project":{"web_url":"https://git.example/team/web"},"ref":"refs/heads/main"}`))
	f.Add("Authorization", "Basic eDp5", []byte(`{"eventType":"git.push"}`))
	f.Add("X-Event-Key", "repo:push", []byte(`{"push":{"changes":[{"new":null}]}}`))
	f.Fuzz(func(t *testing.T, header, of string, body []byte) {
		h := shop()
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		req.Header = http.Header{http.CanonicalHeaderKey(header): {of}}
		res := httptest.NewRecorder()
		receiver(h).ServeHTTP(res, req)
		if res.Code == 500 || h.recorded > 0 || strings.Contains(res.Body.String(), value) {
			t.Fatalf("answer %d %s, recorded %d", res.Code, res.Body, h.recorded)
		}
	})
}
