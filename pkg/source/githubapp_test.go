package source

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// appKey is the key of a GitHub App.
type appKey struct {
	private *rsa.PrivateKey
	pem     []byte
}

// newAppKey makes a key in the form of RSA PRIVATE KEY (PKCS#1) or PRIVATE KEY
// (PKCS#8).
func newAppKey(t testing.TB, form string) appKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der := x509.MarshalPKCS1PrivateKey(private)
	if form == "PRIVATE KEY" {
		if der, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
			t.Fatal(err)
		}
	}
	return appKey{private, pem.EncodeToMemory(&pem.Block{Type: form, Bytes: der})}
}

// gitHub is a git server with an API that gives tokens to the App 7, for its
// installation 42, and lets in who has one.
type gitHub struct {
	*server
	key appKey
	// life is how long a token is good.
	life time.Duration

	mu     sync.Mutex
	issued int
	good   map[string]bool
	proofs []string
	// answer, if set, answers in place of the API.
	answer http.HandlerFunc
}

func newGitHub(t *testing.T) *gitHub {
	t.Helper()
	g := &gitHub{server: newServer(t), key: newAppKey(t, "RSA PRIVATE KEY"), life: time.Hour, good: map[string]bool{}}
	g.intercept(func(w http.ResponseWriter, r *http.Request, git http.Handler) {
		g.mu.Lock()
		user, token, _ := r.BasicAuth()
		good, answer := g.good[token], g.answer
		g.mu.Unlock()
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/v3/") && answer != nil:
			answer(w, r)
		case strings.HasPrefix(r.URL.Path, "/api/v3/"):
			g.api(w, r)
		case user != "x-access-token" || !good:
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "who is ", token)
		default:
			git.ServeHTTP(w, r)
		}
	})
	return g
}

// api gives out a token.
func (g *gitHub) api(w http.ResponseWriter, r *http.Request) {
	proof := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proofs = append(g.proofs, proof)
	if err := g.check(proof); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"message":"%v, you said %s"}`, err, proof)
		return
	}
	var wanted struct{ Permissions map[string]string }
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil || len(wanted.Permissions) != 1 || wanted.Permissions["contents"] != "read" {
		http.Error(w, fmt.Sprintf(`{"message":"%+v, %v"}`, wanted, err), http.StatusBadRequest)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/api/v3/app/installations/42/access_tokens" {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"message":"Not Found"}`)
		return
	}
	g.issued++
	token := fmt.Sprintf("canary-token-%d", g.issued)
	g.good[token] = true
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token":%q,"expires_at":%q}`, token, time.Now().Add(g.life).UTC().Format(time.RFC3339))
}

// check verifies a JSON Web Token.
func (g *gitHub) check(proof string) error {
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		return errors.New("no token")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return err
		}
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&g.key.private.PublicKey, crypto.SHA256, digest[:], raw[2]) != nil {
		return errors.New("wrong signature")
	}
	var header struct{ Alg, Typ string }
	var claims struct {
		Iss      string
		Iat, Exp int64
	}
	if err := errors.Join(json.Unmarshal(raw[0], &header), json.Unmarshal(raw[1], &claims)); err != nil {
		return err
	}
	now := time.Now().Unix()
	if header.Alg != "RS256" || header.Typ != "JWT" || claims.Iss != "7" || claims.Iat > now || claims.Exp <= now || claims.Exp-claims.Iat > 600 {
		return fmt.Errorf("wrong claims %+v %+v", header, claims)
	}
	return nil
}

func (g *gitHub) app() *Auth {
	return &Auth{App: &GitHubApp{ID: "7", Installation: "42", PrivateKey: g.key.pem}}
}

// set changes how the server behaves.
func (g *gitHub) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *gitHub) tokens() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.issued
}

func TestGitHubApp(t *testing.T) {
	g := newGitHub(t)
	m := newTestMirrors(t, Limits{})
	var requests []Request
	for i := range 5 {
		r := g.repository(t, fmt.Sprint("demo", i))
		requests = append(requests, Request{URL: r.url, Auth: g.app()})
		fetch(t, m, requests[i], r.commit(map[string]string{"a": "1"}))
	}
	if got := g.tokens(); got != 1 {
		t.Errorf("five repositories of one installation took %d tokens", got)
	}
	var asking sync.WaitGroup
	fresh := newTestMirrors(t, Limits{})
	for _, request := range requests {
		asking.Go(func() {
			if _, err := fresh.Head(context.Background(), request); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	if got := g.tokens(); got != 2 {
		t.Errorf("five that ask at once took %d tokens", got-1)
	}
	// The key may be in the other form, too, and the API at an address of its own.
	key := newAppKey(t, "PRIVATE KEY")
	g.set(func() { g.key = key })
	at := Request{URL: requests[0].URL, Auth: g.app()}
	at.Auth.App.BaseURL = g.URL + "/api/v3/"
	if _, err := newTestMirrors(t, Limits{}).Head(t.Context(), at); err != nil {
		t.Error(err)
	}
}

// A token is not used up to its last minute, nor any longer than the server
// likes it.
func TestTokensOfGitHubAppsAreRenewed(t *testing.T) {
	g := newGitHub(t)
	r := g.repository(t, "demo")
	r.commit(map[string]string{"a": "1"})
	m := newTestMirrors(t, Limits{})
	request := Request{URL: r.url, Auth: g.app()}
	ask := func(want int) {
		t.Helper()
		if _, err := m.Head(t.Context(), request); err != nil {
			t.Error(err)
		}
		if got := g.tokens(); got != want {
			t.Errorf("there are %d tokens, want %d", got, want)
		}
	}
	g.set(func() { g.life = tokenReserve - time.Second })
	ask(1)
	ask(2)
	g.set(func() { g.life = tokenReserve + time.Minute })
	ask(3)
	ask(3)
	g.set(func() { clear(g.good) })
	_, err := m.Head(t.Context(), request)
	wantError(t, err, AuthenticationFailed, "401", "GitHub App is installed for this repository")
	ask(4)
}

func TestGitHubAppRefusals(t *testing.T) {
	g := newGitHub(t)
	r := g.repository(t, "demo")
	r.commit(map[string]string{"a": "1"})
	answers := func(code int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if key, value, ok := strings.Cut(header, ":"); ok {
				w.Header().Set(key, value)
			}
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	other := newAppKey(t, "RSA PRIVATE KEY")
	for _, tc := range []struct {
		name   string
		change func(*GitHubApp)
		answer http.HandlerFunc
		reason Reason
		says   []string
	}{
		{"another key", func(a *GitHubApp) { a.PrivateKey = other.pem }, nil, AuthenticationFailed, []string{"401", "wrong signature", "github_app_private_key"}},
		{"another App", func(a *GitHubApp) { a.ID = "8" }, nil, AuthenticationFailed, []string{"401", "github_app_id"}},
		{"another installation", func(a *GitHubApp) { a.Installation = "43" }, nil, AuthenticationFailed, []string{"404", "github_app_installation_id"}},
		{"no permission", nil, answers(422, "", `{"message":"not granted"}`), AuthenticationFailed, []string{"not granted", "permission to read contents"}},
		{"suspended", nil, answers(403, "", `{"message":"suspended"}`), AuthenticationFailed, []string{"suspended"}},
		{"too many requests", nil, answers(403, "X-Ratelimit-Remaining:0", `{}`), Unreachable, []string{"403"}},
		{"away", nil, answers(502, "", `<html>`), Unreachable, []string{"502"}},
		{"moved", nil, answers(301, "Location:"+g.URL, ``), Invalid, []string{"301", "github_app_base_url"}},
		{"a web site", nil, answers(201, "", `<html>`), Invalid, []string{"no token"}},
		{"nobody listens", func(a *GitHubApp) { a.BaseURL = gone.URL }, nil, Unreachable, []string{"connection refused", gone.URL}},
		{"no address", func(a *GitHubApp) { a.BaseURL = "canary" }, nil, Invalid, []string{"github_app_base_url"}},
		{"an address with a password", func(a *GitHubApp) { a.BaseURL = "https://canary:canary@h" }, nil, Invalid, []string{"github_app_base_url"}},
		{"a key that is none", func(a *GitHubApp) { a.PrivateKey = []byte("canary") }, nil, Invalid, []string{"github_app_private_key"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g.set(func() { g.answer = tc.answer })
			request := Request{URL: r.url, Auth: g.app()}
			if tc.change != nil {
				tc.change(request.Auth.App)
			}
			m := newTestMirrors(t, Limits{})
			_, err := m.Ask(t.Context(), Question{Request: request, Since: time.Now()})
			wantError(t, err, tc.reason, tc.says...)
			withoutCanary(t, g, err)
			_, err = m.Fetch(t.Context(), request)
			wantError(t, err, tc.reason, tc.says...)
			withoutCanary(t, g, err)
			// Whatever is wrong with one App holds up nobody else on the host.
			if err := m.gates.of(strings.TrimPrefix(g.URL, "http://")).closed(time.Now()); err != nil {
				t.Errorf("the host is left alone: %v", err)
			}
		})
	}
	t.Run("a token that does not help", func(t *testing.T) {
		g.set(func() {
			g.answer = answers(201, "", `{"token":"canary-token-0","expires_at":"2100-01-01T00:00:00Z"}`)
		})
		_, err := newTestMirrors(t, Limits{}).Fetch(t.Context(), Request{URL: r.url, Auth: g.app()})
		wantError(t, err, AuthenticationFailed, "GitHub App")
		withoutCanary(t, g, err)
	})
}

// withoutCanary fails if the error quotes a token, or a proof of the key.
func withoutCanary(t *testing.T, g *gitHub, err error) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, secret := range append([]string{"canary"}, g.proofs...) {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

func TestAPIOfGitHub(t *testing.T) {
	for repo, want := range map[string]string{
		"https://github.com/o/r":            "https://api.github.com",
		"https://GitHub.com/o/r":            "https://api.github.com",
		"http://www.github.com/o/r":         "https://api.github.com",
		"https://octo.ghe.com/o/r":          "https://api.octo.ghe.com",
		"https://git.example.test:8443/o/r": "https://git.example.test:8443/api/v3",
		"https://notgithub.com/o/r":         "https://notgithub.com/api/v3",
	} {
		got, err := (&GitHubApp{}).api(mustTarget(t, Request{URL: repo}).addr)
		if err != nil || got.String() != want {
			t.Errorf("%s: %v, %v, want %s", repo, got, err, want)
		}
	}
	app := &GitHubApp{BaseURL: "http://h/api/v3"}
	if got, err := app.api(mustTarget(t, Request{URL: "https://h/o/r"}).addr); err == nil {
		t.Errorf("the key would be proved without TLS, to %s", got)
	}
}

func TestBearerToken(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	s.intercept(func(w http.ResponseWriter, req *http.Request, git http.Handler) {
		if got := req.Header.Get("Authorization"); got != "Bearer canary-bearer" {
			http.Error(w, "not "+got, http.StatusUnauthorized)
			return
		}
		git.ServeHTTP(w, req)
	})
	fetch(t, newTestMirrors(t, Limits{}), Request{URL: r.url, Auth: &Auth{BearerToken: "canary-bearer"}}, commit)
	_, err := newTestMirrors(t, Limits{}).Fetch(t.Context(), Request{URL: r.url, Auth: &Auth{BearerToken: "canary-wrong"}})
	wantError(t, err, AuthenticationFailed, "401", "check the key bearerToken")
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error holds the token: %v", err)
	}
}

// A host that is too busy, and says so with the credentials that it was sent,
// is left alone by others, too: what they are told is not for them to know.
func TestWhatAHostSaysToOneIsNotToldToOthers(t *testing.T) {
	rude := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, password, _ := r.BasicAuth()
		fmt.Fprint(w, "not now, ", password)
	}))
	t.Cleanup(rude.Close)
	m := newTestMirrors(t, Limits{})
	ask := func(auth *Auth) error {
		_, err := m.Ask(t.Context(), Question{Request: Request{URL: rude.URL + "/r", Auth: auth}, Since: time.Now()})
		return err
	}
	wantError(t, ask(&Auth{Username: "ada", Password: "canary-ada"}), Unreachable, "not now")
	if err := ask(nil); !strings.Contains(err.Error(), "not now") || strings.Contains(err.Error(), "canary") {
		t.Errorf("the other one is told: %v", err)
	}
}
