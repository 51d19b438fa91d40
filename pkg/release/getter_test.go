package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

func TestRequestsEndWithTheContextOfTheAction(t *testing.T) {
	arrived := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			_, _ = w.Write([]byte("answer"))
			return
		}
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	client, err := rest.HTTPClientFor(boundTo(ctx, &rest.Config{Host: server.URL}))
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (string, error) {
		// Helm's requests carry no context of their own.
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	if text, err := get("/quick"); err != nil || text != "answer" {
		t.Errorf("before the end: %q, %v", text, err)
	}
	stopping := errors.New("stopping")
	go func() {
		<-arrived
		cancel(stopping)
	}()
	if _, err := get("/slow"); err == nil {
		t.Error("a request went on after its context")
	}
	if _, err := get("/quick"); err == nil {
		t.Error("a request was made after its context")
	}
}

func TestGetterReadsNothingFromItsSurroundings(t *testing.T) {
	t.Setenv("KUBECONFIG", "/does/not/exist")
	t.Setenv("HOME", "/does/not/exist")
	g := &getter{config: &rest.Config{Host: "https://cluster"}, namespace: "web"}
	if config, err := g.ToRESTConfig(); err != nil || config.Host != "https://cluster" {
		t.Errorf("config is %v, %v", config, err)
	}
	if namespace, _, err := g.ToRawKubeConfigLoader().Namespace(); err != nil || namespace != "web" {
		t.Errorf("namespace is %q, %v", namespace, err)
	}
}

func TestLacksKind(t *testing.T) {
	kind := &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "example.com", Kind: "Widget"}}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("connection refused"), false},
		{fmt.Errorf("installing: %w", kind), true},
		{errors.New(`resource mapping not found for name: "w": no matches for kind "Widget" in version "example.com/v1"`), true},
		{NewRedactor(nil).Error(fmt.Errorf("installing: %w", kind)), true},
	} {
		if got := LacksKind(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}
