package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// tokenReserve is how long before its end a token is not used any more: a
	// fetch must not outlive it.
	tokenReserve = 5 * time.Minute
	// maxTokenAnswer bounds what the API may answer, in bytes.
	maxTokenAnswer = 64 << 10
)

// issued is a token as the API gives it out.
type issued struct {
	token string
	until time.Time
}

// appToken is the token of one installation. Whoever holds the turn may ask for
// a new one; the others wait for that.
type appToken struct {
	turn chan struct{}
	mu   sync.Mutex
	last issued
}

func newAppToken() *appToken { return &appToken{turn: make(chan struct{}, 1)} }

// get returns the token, or a new one by ask where there is none that is good
// for a while yet.
func (a *appToken) get(ctx context.Context, ask func() (issued, error)) (string, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if !a.idle(time.Now()) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.last.token, nil
	}
	fresh, err := ask()
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = fresh
	return fresh.token, nil
}

// idle says whether there is no token that is good for a while yet.
func (a *appToken) idle(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last.token == "" || !now.Before(a.last.until.Add(-tokenReserve))
}

// forget has the next one ask, if this is still the token.
func (a *appToken) forget(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last.token == token {
		a.last = issued{}
	}
}

// askForToken asks the API for a token that may read contents, and nothing else
// that the App may do.
func (m *Mirrors) askForToken(ctx context.Context, t target, base *url.URL) (issued, error) {
	app := t.Auth.App
	proof, err := app.proof(time.Now())
	if err != nil {
		return issued{}, &refusal{reason: Invalid, text: "the private key " + err.Error(), hint: "correct github_app_private_key of the client Secret"}
	}
	t.secrets.add(proof)
	pool, err := m.pool(t.Request)
	if err != nil {
		return issued{}, err
	}
	at := base.JoinPath("app", "installations", app.Installation, "access_tokens")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), bytes.NewReader([]byte(`{"permissions":{"contents":"read"}}`)))
	if err != nil {
		return issued{}, fmt.Errorf("composing the request: %w", err)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+proof)
	client := &http.Client{Transport: pool, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if err != nil {
		return issued{}, err
	}
	defer res.Body.Close()
	return readToken(res)
}

// readToken reads what the API answers.
func readToken(res *http.Response) (issued, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, maxTokenAnswer))
	if err != nil {
		return issued{}, fmt.Errorf("reading the answer: %w", err)
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
		Message   string    `json:"message"`
	}
	err = json.Unmarshal(body, &answer)
	switch {
	case res.StatusCode != http.StatusCreated:
		return issued{}, tokenRefused(res, answer.Message)
	case err != nil || answer.Token == "":
		return issued{}, &refusal{reason: Invalid, text: "the answer holds no token", hint: "check github_app_base_url of the client Secret"}
	}
	return issued{token: answer.Token, until: answer.ExpiresAt}, nil
}

// tokenRefused says what a status of the API means, and which key to look at.
func tokenRefused(res *http.Response, message string) error {
	refused := &refusal{reason: AuthenticationFailed, text: "the server answers " + res.Status}
	if message != "" {
		refused.text += ": " + message
	}
	limited := res.Header.Get("Retry-After") != "" || res.Header.Get("X-Ratelimit-Remaining") == "0"
	switch code := res.StatusCode; {
	case code == http.StatusTooManyRequests || code == http.StatusForbidden && limited || code >= http.StatusInternalServerError:
		refused.reason = Unreachable
	case code == http.StatusUnauthorized:
		refused.hint = "check github_app_id and github_app_private_key of the client Secret"
	case code == http.StatusNotFound:
		refused.hint = "check github_app_installation_id of the client Secret, and github_app_base_url if GitHub is not at the host of the repository"
	case code == http.StatusForbidden || code == http.StatusUnprocessableEntity:
		refused.hint = "the App needs the permission to read contents, and its installation must not be suspended"
	default:
		refused.reason, refused.hint = Invalid, "check github_app_base_url of the client Secret"
	}
	return refused
}
