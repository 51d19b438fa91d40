package gitrepos

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/chartserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

const canaryUser, canaryPassword = "bot", "right-canary"

// webChart is the archive of a chart with one ConfigMap.
func webChart(t *testing.T) []byte {
	t.Helper()
	archive, err := chartserver.Archive(map[string]string{
		"web/Chart.yaml":          "apiVersion: v2\nname: web\nversion: 1.0.0\n",
		"web/templates/says.yaml": configMap("{{ .Release.Name }}", "{{ .Chart.Version }}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// chartServer is a private chart repository with the chart "web".
func chartServer(t *testing.T, withTLS bool) *chartserver.Repository {
	t.Helper()
	server, err := chartserver.StartRepository(chartserver.Options{Username: canaryUser, Password: canaryPassword, TLS: withTLS}, map[string][]byte{
		"/index.yaml":    []byte("apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [web-1.0.0.tgz]}]}\n"),
		"/web-1.0.0.tgz": webChart(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, "chart repository", server)
	return server
}

// registry is a private registry with the chart "web" in charts/web.
func registry(t *testing.T) *chartserver.Registry {
	t.Helper()
	logrus.SetOutput(io.Discard) // The registry tells the world of every request.
	t.Cleanup(func() { logrus.SetOutput(os.Stderr) })
	server, err := chartserver.StartRegistry(chartserver.Options{Username: canaryUser, Password: canaryPassword, TLS: true, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, "registry", server)
	if err := server.Push("charts/web", "1.0.0", webChart(t)); err != nil {
		t.Fatal(err)
	}
	return server
}

// withoutCanaries fails if the status of a GitRepo shows a password.
func withoutCanaries(t *testing.T, key kube.Key) {
	t.Helper()
	env.GitRepos.Await(t, key, func(gr *fleet.GitRepo) error {
		if text := fmt.Sprintf("%+v", gr.Status); containsCanary(text) {
			t.Errorf("the status shows a password: %s", text)
		}
		return nil
	})
}

func containsCanary(text string) bool { return strings.Contains(text, "canary") }

// TestChartOfAPrivateRepository: what is missing is said step by step, and
// nothing is told to servers that are not named.
func TestChartOfAPrivateRepository(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	server := chartServer(t, false)
	r := shop(t)
	r.Push(t, repo.Change{Write: map[string]string{
		"chart/fleet.yaml": "helm: {repo: '" + server.URL() + "', chart: web, version: 1.0.0}\n",
	}})
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) { gr.Spec.DisablePolling = true })
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
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.HelmRepoURLRegex = server.URL() })
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
	server := chartServer(t, false)
	r := shop(t)
	chart := "helm: {repo: '" + server.URL() + "', chart: web}\n"
	r.Push(t, repo.Change{Write: map[string]string{"let-in/fleet.yaml": chart, "left-out/fleet.yaml": chart}})
	env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "charts"},
		StringData: map[string]string{"secrets-path.yaml": "let-*: {username: bot, password: right-canary}\n"},
	})
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) {
		gr.Spec.HelmSecretNameForPaths, gr.Spec.HelmRepoURLRegex = "charts", server.URL()
	})
	awaitBundles(t, key, "shop-api", "shop-let-in", "shop-web")
	awaitTrouble(t, key, fleet.ConditionAccepted, "left-out/fleet.yaml")
	withoutCanaries(t, key)
}
