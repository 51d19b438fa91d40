// Package canary plants secrets that can be recognised wherever users put secrets, has everything happen that could show them, and looks for
// them wherever people who may not know them look: logs, events, objects but Secrets, metrics, output of commands.
package canary

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/cli"
	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

// The marked values. None is a word of anything else.
const (
	gitPassword   = "canary-git-7f3a91"
	wrongPassword = "canary-wrong-5e0b22"
	urlPassword   = "canary-url-c4d817"
	helmValue     = "canary-value-19ab60"
	kubeToken     = "canary-kubeconfig-83cd05"
)

// log is a log that is kept.
type log struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

func (l *log) logger() logrus.FieldLogger {
	logger := logrus.New()
	logger.SetOutput(l)
	logger.SetLevel(logrus.TraceLevel)
	return logger
}

// run runs something until the test ends.
func run(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended: %v", err)
		}
	})
}

func TestSecretsStaySecret(t *testing.T) {
	reserved, err := ports.Reserve("manager", "agent")
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{}
	for name, port := range reserved.Ports() {
		addresses[name] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	reserved.Release("manager", "agent")
	var managerLog, agentLog log
	data := t.TempDir()
	run(t, func(ctx context.Context) error {
		return manager.Run(ctx, manager.Config{
			Hub: env.Config, DataDir: data, AgentURL: env.ControlPlane.URL(), AgentImage: "flotilla-agent:test", MetricsAddress: addresses["manager"],
			DebugEndpoints: true, ContentGrace: manager.DefaultContentGrace, FetchTimeout: manager.DefaultFetchTimeout, MaxRepositoryBytes: manager.DefaultMaxRepositoryBytes,
		}, managerLog.logger())
	})
	workspace := env.Workspace(t)
	namespace := newNamespace(t)
	bad(t, workspace)
	secrets := append(join(t, workspace, namespace), gitPassword, wrongPassword, urlPassword, helmValue, kubeToken)
	run(t, func(ctx context.Context) error {
		return agent.Run(ctx, agent.Config{Local: env.Config, Namespace: namespace, MetricsAddress: addresses["agent"], AtOnce: 4}, agentLog.logger())
	})
	deploy(t, workspace)
	secrets = append(secrets, issued(t, workspace, namespace)...)

	places := map[string]string{"the manager's log": managerLog.text(), "the agent's log": agentLog.text()}
	for name, address := range addresses {
		places["the metrics of the "+name] = fetch(t, "http://"+address+"/metrics")
	}
	places["the graph of owners"] = fetch(t, "http://"+addresses["manager"]+"/debug/ownership")
	objects(t, workspace, places)
	commands(t, workspace, places)
	look(t, places, secrets)
}

// look fails for every secret that is found somewhere, as it is or encoded.
func look(t *testing.T, places map[string]string, secrets []string) {
	t.Helper()
	for where, text := range places {
		if text == "" {
			t.Errorf("there was nothing to look at in %s", where)
		}
		for _, secret := range secrets {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("%s shows %.12s…: %s", where, form, strings.ReplaceAll(text[max(0, at-200):at], "\n", " "))
				}
			}
		}
	}
}

func newNamespace(t *testing.T) string {
	t.Helper()
	made, err := env.Kubernetes.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "canary-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Name
}

// bad makes what fails with secrets at hand: a wrong password, credentials in an address, a kubeconfig that nobody accepts, a
// release that cannot be rendered from its values.
func bad(t *testing.T, workspace string) {
	t.Helper()
	closed := harness.GitRepository(t)
	closed.Push(t, repo.Change{Write: map[string]string{"cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: never}\n"}})
	closed.Serve(t, gitserver.Behaviour{Username: "tom", Password: gitPassword})
	basicAuth(t, workspace, "wrong", wrongPassword)
	env.GitRepos.Make(t, harness.NewGitRepo(workspace, "wrong", closed, func(r *fleet.GitRepo) { r.Spec.ClientSecretName = "wrong" }))
	inURL := harness.NewGitRepo(workspace, "in-url", closed, func(r *fleet.GitRepo) {
		r.Spec.Repo = strings.Replace(r.Spec.Repo, "http://", "http://tom:"+urlPassword+"@", 1)
	})
	env.GitRepos.Make(t, inURL)
	kubeconfig, err := os.ReadFile(env.ControlPlane.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(kubeconfig, &config); err != nil {
		t.Fatal(err)
	}
	for _, user := range config["users"].([]any) {
		user.(map[string]any)["user"] = map[string]any{"token": kubeToken}
	}
	if kubeconfig, err = yaml.Marshal(config); err != nil {
		t.Fatal(err)
	}
	env.Secrets.Make(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "kubeconfig"}, Data: map[string][]byte{names.KeyImportKubeconfig: kubeconfig}})
	cluster := harness.NewCluster(workspace, "imported", map[string]string{"canary": "no"})
	cluster.Spec.KubeConfigSecret = "kubeconfig"
	env.Clusters.Make(t, cluster)
	for _, name := range []string{"wrong", "in-url"} {
		env.GitRepos.AwaitCondition(t, kube.Key{Namespace: workspace, Name: name}, fleet.Condition{Type: fleet.ConditionStalled, Status: metav1.ConditionTrue})
	}
	env.Clusters.AwaitCondition(t, kube.Key{Namespace: workspace, Name: "imported"}, fleet.Condition{Type: fleet.ConditionImported, Status: metav1.ConditionFalse})
}

func basicAuth(t *testing.T, workspace, name, password string) {
	t.Helper()
	env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{names.KeyUsername: []byte("tom"), names.KeyPassword: []byte(password)},
	})
}

// join prepares an agent that joins, and returns what it joins with.
func join(t *testing.T, workspace, namespace string) []string {
	t.Helper()
	env.ClusterRegistrationTokens.Make(t, &fleet.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "join"}})
	values := env.JoinValues(t, workspace, "join")
	data := maps.Clone(values)
	data[names.KeyClientID], data[names.KeyClusterLabels] = "canary", `{"canary":"yes"}`
	env.Secrets.Make(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: names.SecretAgentBootstrap}, StringData: data})
	return []string{values[names.KeyToken]}
}

// deploy deploys with a git password and secret values: what works, and what fails because of its values.
func deploy(t *testing.T, workspace string) {
	t.Helper()
	repository := harness.GitRepository(t)
	fleetYAML := "namespace: default\nhelm:\n  releaseName: %s\n  values: {secret: " + helmValue + "}\n"
	chart := "apiVersion: v2\nname: c\nversion: 0.1.0\n"
	repository.Push(t, repo.Change{Write: map[string]string{
		"good/fleet.yaml": fmt.Sprintf(fleetYAML, "canary-good"), "good/Chart.yaml": chart,
		"good/templates/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: canary}\nstringData: {a: {{ .Values.secret | quote }}}\n",
		"bad/fleet.yaml":        fmt.Sprintf(fleetYAML, "canary-bad"), "bad/Chart.yaml": chart,
		"bad/templates/s.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.secret | upper | quote }}}\n",
	}})
	repository.Serve(t, gitserver.Behaviour{Username: "tom", Password: gitPassword})
	basicAuth(t, workspace, "right", gitPassword)
	env.GitRepos.Make(t, harness.NewGitRepo(workspace, "shop", repository, func(r *fleet.GitRepo) {
		r.Spec.ClientSecretName = "right"
		r.Spec.Targets = []fleet.GitTarget{{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"canary": "yes"}}}}
	}))
	harness.Eventually(t, "the good one is deployed and the bad one is not", func(ctx context.Context) error {
		secret, err := env.Kubernetes.CoreV1().Secrets("default").Get(ctx, "canary", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if string(secret.Data["a"]) != helmValue {
			return errors.New("the value did not arrive")
		}
		b, err := env.Bundles.Get(ctx, workspace, "shop-bad")
		if err != nil {
			return err
		}
		if b.Status.Summary.ErrApplied == 0 {
			return errors.New("the bad one has not failed")
		}
		return nil
	})
}

// issued returns the tokens that were made for the agent, and what it shows to be known.
func issued(t *testing.T, workspace, namespace string) []string {
	t.Helper()
	kept, err := env.Secrets.Get(t.Context(), names.ClusterNamespace(workspace, names.RegisteredCluster("canary")), names.SecretAgent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Secrets.Get(t.Context(), namespace, names.SecretAgentRegistration); err != nil {
		t.Fatal(err)
	}
	return []string{string(kept.Data[names.KeyToken])}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// objects adds every object of every kind but Secrets. What users wrote themselves, the address of a GitRepo, is left out.
func objects(t *testing.T, workspace string, places map[string]string) {
	t.Helper()
	client, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := env.Kubernetes.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if resource.Name == "secrets" || strings.Contains(resource.Name, "/") || !slices.Contains(resource.Verbs, "list") {
				continue
			}
			found, err := client.Resource(gv.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue
			}
			if err != nil {
				t.Fatalf("listing %s: %v", resource.Name, err)
			}
			for i := range found.Items {
				o := &found.Items[i]
				if o.GetKind() == "GitRepo" {
					unstructured.RemoveNestedField(o.Object, "spec", "repo")
				}
				text, err := o.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				places[fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())] = string(text)
			}
		}
	}
	for _, must := range []string{"GitRepo " + workspace + "/wrong", "Bundle " + workspace + "/shop-good"} {
		if places[must] == "" {
			t.Errorf("%s was not looked at", must)
		}
	}
}

// commands adds what the commands print.
func commands(t *testing.T, workspace string, places map[string]string) {
	t.Helper()
	for _, line := range []string{
		"status", "status -o json", "targets gitrepo/shop", "targets gitrepo/shop -o json", "gc list", "gc list -o json", "status cluster/imported",
	} {
		var out bytes.Buffer
		args := append(strings.Fields(line), "--kubeconfig", env.ControlPlane.Kubeconfig(), "--namespace", workspace)
		cli.Run(t.Context(), cli.Options{Args: args, In: strings.NewReader(""), Out: &out, Err: &out})
		if out.Len() == 0 {
			out.WriteString("nothing")
		}
		places["flotilla "+line] = out.String()
	}
}
