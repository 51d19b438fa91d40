package source

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// proxiedHead runs in a process of its own: the environment is read only once.
func proxiedHead(url string) {
	m, err := NewMirrors(os.Getenv("PROXIED_HEAD_DIR"), Limits{}, quiet())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Head(context.Background(), Request{URL: url}))
}

func TestProxyOfTheEnvironment(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked = append(asked, req.URL.Host)
		res, err := http.Get(s.URL + req.URL.RequestURI())
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
		_, _ = io.Copy(w, res.Body)
	}))
	t.Cleanup(proxy.Close)

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HTTP_PROXY="+proxy.URL, "PROXIED_HEAD_DIR="+t.TempDir(), "PROXIED_HEAD_URL=http://git.example.test/demo.git")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.TrimSpace(string(out)); got != commit+" <nil>" {
		t.Errorf("Head through the proxy = %q, want %q", got, commit)
	}
	if len(asked) != 1 || asked[0] != "git.example.test" {
		t.Errorf("the proxy was asked for %v", asked)
	}
}
