// Package webhooks tests deliveries of Git hosts: which are believed, by any
// replica of the manager, and that the leader acts on them at once.
package webhooks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

// host is a Git host that delivers to a manager.
type host struct {
	to     string
	secret string
}

// receiving has a manager receive webhooks, on a port that is free.
func receiving(t *testing.T, system string) (edit func(*manager.Config), url string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	return func(c *manager.Config) { c.Namespace, c.WebhookAddress = system, address }, "http://" + address + "/"
}

// awaitReceiver waits until the manager takes deliveries.
func awaitReceiver(t *testing.T, url string) {
	t.Helper()
	harness.Eventually(t, "the manager receives", func(ctx) error {
		status, text := post(t, url, http.Header{"X-Github-Event": {"ping"}}, "{}")
		if status != http.StatusUnauthorized {
			return fmt.Errorf("it answers %d %s", status, text)
		}
		return nil
	})
}

func secret(t *testing.T, namespace, name, value string) {
	t.Helper()
	env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{"github": []byte(value)},
	})
}

// push is the body of a delivery.
func push(url, branch, commit string) string {
	return fmt.Sprintf(`{"ref":"refs/heads/%s","after":%q,"repository":{"html_url":%q}}`, branch, commit, strings.TrimSuffix(url, ".git"))
}

// deliver delivers, signed with the host's secret, if it has one.
func (h host) deliver(t *testing.T, body string) (int, string) {
	t.Helper()
	header := http.Header{"X-Github-Event": {"push"}}
	if h.secret != "" {
		mac := hmac.New(sha256.New, []byte(h.secret))
		mac.Write([]byte(body))
		header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return post(t, h.to, header, body)
}

// post returns status 0 and why if nobody answers.
func post(t *testing.T, url string, header http.Header, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// follow makes a GitRepo that is never polled.
func follow(t *testing.T, workspace string, git *harness.Repository, edit func(*fleet.GitRepo)) kube.Key {
	t.Helper()
	gr := &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "shop"},
		Spec: fleet.GitRepoSpec{
			Repo: git.URL, Branch: repo.DefaultBranch, DisablePolling: true,
			Targets: []fleet.GitTarget{{Name: "all", ClusterSelector: &metav1.LabelSelector{}}},
		},
	}
	if edit != nil {
		edit(gr)
	}
	return harness.KeyOf(env.GitRepos.Make(t, gr))
}

func commit(t *testing.T, git *harness.Repository, says string) string {
	t.Helper()
	return git.Push(t, repo.Change{Write: map[string]string{
		"configmap.yaml": fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: shop\ndata:\n  says: %q\n", says),
	}})
}

func awaitCommit(t *testing.T, key kube.Key, commit string) *fleet.GitRepo {
	t.Helper()
	return env.GitRepos.Await(t, key, func(gr *fleet.GitRepo) error {
		if gr.Status.Commit != commit {
			return fmt.Errorf("it is at commit %q, want %q", gr.Status.Commit, commit)
		}
		return nil
	})
}

func wantStatus(t *testing.T, what string, want int) func(int, string) {
	t.Helper()
	return func(got int, text string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: the manager answers %d %s, want %d", what, got, text, want)
		}
	}
}

type ctx = context.Context

func accepted(status int, text string) error {
	if status != http.StatusOK || !strings.Contains(text, "look for the commit") {
		return fmt.Errorf("the manager answers %d %s", status, text)
	}
	return nil
}

func refused(status int, text string) error {
	if status != http.StatusUnauthorized {
		return fmt.Errorf("the manager answers %d %s", status, text)
	}
	return nil
}
