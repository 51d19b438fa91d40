package gitrepos

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// chartServer is a private chart repository with the chart "web".
func chartServer(t *testing.T) *httptest.Server {
	t.Helper()
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	content := "apiVersion: v2\nname: web\nversion: 1.0.0\n"
	if err := w.WriteHeader(&tar.Header{Name: "web/Chart.yaml", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user, password, _ := r.BasicAuth(); {
		case user != "bot" || password != "right-canary":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/index.yaml":
			fmt.Fprint(w, "apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [web-1.0.0.tgz]}]}\n")
		default:
			_, _ = w.Write(archive.Bytes())
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// withoutCanaries fails if the status of a GitRepo shows a password.
func withoutCanaries(t *testing.T, key kube.Key) {
	t.Helper()
	env.GitRepos.Await(t, key, func(gr *fleet.GitRepo) error {
		if text := fmt.Sprintf("%+v", gr.Status); strings.Contains(text, "canary") {
			t.Errorf("the status shows a password: %s", text)
		}
		return nil
	})
}

// TestChartOfAPrivateRepository: what is missing is said step by step, and
// nothing is told to servers that are not named.
func TestChartOfAPrivateRepository(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	server := chartServer(t)
	r := shop(t)
	r.Push(t, repo.Change{Write: map[string]string{
		"chart/fleet.yaml": "helm: {repo: '" + server.URL + "', chart: web, version: 1.0.0}\n",
	}})
	key := follow(t, ws, r.URL, nil)
	awaitTrouble(t, key, fleet.ConditionAccepted, "it wants credentials; name a Secret with them in spec.helmSecretName")
	// The other folders do not wait for it.
	awaitBundles(t, key, "shop-api", "shop-web")

	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.HelmSecretName = "charts" })
	awaitTrouble(t, key, fleet.ConditionAccepted, "spec.helmSecretName: secret charts is not in namespace "+ws)
	secret := env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "charts"},
		StringData: map[string]string{"username": "bot", "password": "wrong-canary"},
	})
	awaitTrouble(t, key, fleet.ConditionAccepted, "were not sent, because spec.helmRepoURLRegex of the GitRepo does not match")
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.HelmRepoURLRegex = "(" })
	awaitTrouble(t, key, fleet.ConditionAccepted, "spec.helmRepoURLRegex: the regular expression")
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.HelmRepoURLRegex = server.URL })
	awaitTrouble(t, key, fleet.ConditionAccepted, "refuses the credentials of the GitRepo's Secret")
	withoutCanaries(t, key)
	awaitBundles(t, key, "shop-api", "shop-web")

	env.Secrets.Edit(t, harness.KeyOf(secret), func(s *corev1.Secret) { s.Data["password"] = []byte("right-canary") })
	awaitBundles(t, key, "shop-api", "shop-chart", "shop-web")
	awaitNoTrouble(t, key)
	withoutCanaries(t, key)
}

// TestCredentialsByPath: each folder has its own.
func TestCredentialsByPath(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	server := chartServer(t)
	r := shop(t)
	chart := "helm: {repo: '" + server.URL + "', chart: web}\n"
	r.Push(t, repo.Change{Write: map[string]string{"let-in/fleet.yaml": chart, "left-out/fleet.yaml": chart}})
	env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "charts"},
		StringData: map[string]string{"secrets-path.yaml": "let-*: {username: bot, password: right-canary}\n"},
	})
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) {
		gr.Spec.HelmSecretNameForPaths, gr.Spec.HelmRepoURLRegex = "charts", server.URL
	})
	awaitBundles(t, key, "shop-api", "shop-let-in", "shop-web")
	awaitTrouble(t, key, fleet.ConditionAccepted, "left-out/fleet.yaml")
	withoutCanaries(t, key)
}
