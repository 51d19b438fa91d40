package gitrepos

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// fill puts a repository's two folders into one that is empty.
func fill(t *testing.T, r *harness.Repository) *harness.Repository {
	t.Helper()
	r.Push(t, repo.Change{Write: map[string]string{"api/configmap.yaml": configMap("api", "one"), "web/configmap.yaml": configMap("web", "one")}})
	return r
}

// unpolled follows a repository that is asked for an event only.
func unpolled(t *testing.T, workspace, url string, edit func(*fleet.GitRepo)) kube.Key {
	t.Helper()
	return follow(t, workspace, url, func(gr *fleet.GitRepo) {
		gr.Spec.DisablePolling = true
		edit(gr)
	})
}

// secretOf makes a Secret, or changes the one that there is.
func secretOf(t *testing.T, workspace, name string, data map[string][]byte) {
	t.Helper()
	key := kube.Key{Namespace: workspace, Name: name}
	_, err := env.Secrets.Get(t.Context(), workspace, name)
	if apierrors.IsNotFound(err) {
		env.Secrets.Make(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}, Data: data})
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	env.Secrets.Edit(t, key, func(s *corev1.Secret) { s.Data = data })
}

// awaitFetchTrouble waits until the GitRepo says why its repository could not
// be asked.
func awaitFetchTrouble(t *testing.T, key kube.Key, reason, message string) {
	t.Helper()
	env.GitRepos.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionGitPolling, Status: "False", Reason: reason, Message: message})
	withoutCanaries(t, key)
}

func password(p string) map[string][]byte {
	return map[string][]byte{"username": []byte(canaryUser), "password": []byte(p)}
}

// TestPrivateRepositoryOverHTTPS: what is missing is said step by step, and
// each correction counts at once, without a poll.
func TestPrivateRepositoryOverHTTPS(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := fill(t, harness.GitRepositoryOverTLS(t))
	r.Serve(t, gitserver.Behaviour{Username: canaryUser, Password: canaryPassword})
	key := unpolled(t, ws, r.URL, func(gr *fleet.GitRepo) { gr.Spec.ClientSecretName = "git" })
	awaitTrouble(t, key, fleet.ConditionGitPolling, "spec.clientSecretName: Secret git is not in namespace "+ws)
	secretOf(t, ws, "git", password("wrong-canary"))
	awaitFetchTrouble(t, key, "TLS", "spec.caBundle")
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.CABundle = []byte("canary") })
	awaitFetchTrouble(t, key, "TLS", "caBundle must hold PEM certificates")
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.CABundle = r.CA })
	awaitFetchTrouble(t, key, "AuthenticationFailed", "check the user name and password")
	secretOf(t, ws, "git", password(canaryPassword))
	awaitBundles(t, key, "shop-api", "shop-web")
	awaitNoTrouble(t, key)

	// From here on nothing asks but the event of the Secret.
	secretOf(t, ws, "git", password("wrong-canary"))
	awaitFetchTrouble(t, key, "AuthenticationFailed", "check the user name and password")
	awaitBundles(t, key, "shop-api", "shop-web")
	secretOf(t, ws, "git", password(canaryPassword))
	awaitNoTrouble(t, key)
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.CABundle = nil })
	awaitFetchTrouble(t, key, "TLS", "spec.caBundle")
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.InsecureSkipTLSVerify = true })
	awaitNoTrouble(t, key)
	withoutCanaries(t, key)
}

// TestHostKeys: a host is believed only with the key that the Secret says it
// has, and a changed Secret counts at once.
func TestHostKeys(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	server, url := fill(t, harness.GitRepository(t)).ServeOverSSH(t)
	other, otherKey, err := gitserver.NewSSHKey()
	if err != nil {
		t.Fatal(err)
	}
	wrong := gitserver.KnownHosts(server.Address(), other.PublicKey())
	with := func(key, hosts []byte) {
		t.Helper()
		secretOf(t, ws, "git", map[string][]byte{"ssh-privatekey": key, "known_hosts": hosts})
	}
	with(server.ClientKey(), gitserver.KnownHosts("example.test", other.PublicKey()))
	key := unpolled(t, ws, url, func(gr *fleet.GitRepo) { gr.Spec.ClientSecretName = "git" })
	awaitFetchTrouble(t, key, "HostKey", "key is unknown")
	with(server.ClientKey(), wrong)
	awaitFetchTrouble(t, key, "HostKey", "under the key known_hosts of the client Secret")
	with(otherKey, server.KnownHosts())
	awaitFetchTrouble(t, key, "AuthenticationFailed", "unable to authenticate")
	with(server.ClientKey(), server.KnownHosts())
	awaitBundles(t, key, "shop-api", "shop-web")
	awaitNoTrouble(t, key)

	// From here on nothing asks but the event of the Secret.
	with(server.ClientKey(), wrong)
	awaitFetchTrouble(t, key, "HostKey", "mismatch")
	awaitBundles(t, key, "shop-api", "shop-web")
	with(server.ClientKey(), server.KnownHosts())
	awaitNoTrouble(t, key)
}

// TestHostKeysOfTheInstallation: where a Secret names no host keys, those of
// the ConfigMap known-hosts count, and a change of it counts at once.
func TestHostKeysOfTheInstallation(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	server, url := fill(t, harness.GitRepository(t)).ServeOverSSH(t)
	secretOf(t, ws, "gitcredential", map[string][]byte{"ssh-privatekey": server.ClientKey()})
	key := unpolled(t, ws, url, func(*fleet.GitRepo) {})
	awaitFetchTrouble(t, key, "HostKey", "the ConfigMap known-hosts")

	system := env.Kubernetes.CoreV1().ConfigMaps(names.NamespaceSystem)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: names.NamespaceSystem}}
	if _, err := env.Kubernetes.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	hosts, err := system.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: names.ConfigMapKnownHosts}, Data: map[string]string{names.KeyKnownHosts: string(server.KnownHosts())},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := system.Delete(context.Background(), hosts.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	awaitBundles(t, key, "shop-api", "shop-web")
	awaitNoTrouble(t, key)

	other, _, err := gitserver.NewSSHKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		line []byte
		then func()
	}{
		{gitserver.KnownHosts(server.Address(), other.PublicKey()), func() { awaitFetchTrouble(t, key, "HostKey", "mismatch") }},
		{server.KnownHosts(), func() { awaitNoTrouble(t, key) }},
	} {
		hosts.Data[names.KeyKnownHosts] = string(step.line)
		if hosts, err = system.Update(t.Context(), hosts, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		step.then()
	}
}

// TestPrivateRepositoriesAreDeployed: over HTTPS and SSH, with a chart from a
// private repository and one from a private registry, down to the workload.
func TestPrivateRepositoriesAreDeployed(t *testing.T) {
	ws, apart := env.Workspace(t), env.Workspace(t)
	env.ImportCluster(t, harness.NewCluster(ws, "local", nil), env)
	env.StartAgent(t)
	r := fill(t, harness.GitRepositoryOverTLS(t))
	r.Serve(t, gitserver.Behaviour{Username: canaryUser, Password: canaryPassword})
	ssh, url := r.ServeOverSSH(t)
	charts, images := chartServer(t, true), registry(t)
	r.Push(t, repo.Change{Write: map[string]string{
		"chart/fleet.yaml": "helm: {repo: '" + charts.URL() + "', chart: web}\n",
		"image/fleet.yaml": "helm: {chart: 'oci://" + images.Address() + "/charts/web', version: ^1.0.0}\n",
	}})
	secretOf(t, ws, "git", password(canaryPassword))
	secretOf(t, ws, "ssh", map[string][]byte{"ssh-privatekey": ssh.ClientKey(), "known_hosts": ssh.KnownHosts()})
	trust := func(p string) map[string][]byte {
		data := password(p)
		data["cacerts"] = append(charts.CA(), images.CA()...)
		return data
	}
	secretOf(t, ws, "charts", trust("wrong-canary"))
	https := follow(t, ws, r.URL, func(gr *fleet.GitRepo) {
		gr.Spec.ClientSecretName, gr.Spec.CABundle, gr.Spec.TargetNamespace = "git", r.CA, ws
		gr.Spec.HelmSecretName, gr.Spec.HelmRepoURLRegex = "charts", "(https|oci)://127\\.0\\.0\\.1:[0-9]+/.*"
		gr.Spec.DisablePolling = true
	})
	awaitTrouble(t, https, fleet.ConditionAccepted, "chart/fleet.yaml")
	awaitTrouble(t, https, fleet.ConditionAccepted, "image/fleet.yaml")
	awaitTrouble(t, https, fleet.ConditionAccepted, "refuses the credentials of the GitRepo's Secret")
	withoutCanaries(t, https)
	secretOf(t, ws, "charts", trust(canaryPassword))
	awaitBundles(t, https, "shop-api", "shop-chart", "shop-image", "shop-web")
	overSSH := follow(t, ws, url, func(gr *fleet.GitRepo) {
		gr.Name, gr.Spec.ClientSecretName, gr.Spec.TargetNamespace, gr.Spec.Paths = "ssh", "ssh", apart, []string{"api"}
	})
	for _, key := range []kube.Key{https, overSSH} {
		env.GitRepos.AwaitReady(t, key)
	}
	for at, says := range map[kube.Key]string{
		{Namespace: ws, Name: "web"}: "one", {Namespace: ws, Name: "shop-chart"}: "1.0.0", {Namespace: ws, Name: "shop-image"}: "1.0.0",
		{Namespace: apart, Name: "api"}: "one",
	} {
		cm, err := env.Kubernetes.CoreV1().ConfigMaps(at.Namespace).Get(t.Context(), at.Name, metav1.GetOptions{})
		if err != nil || cm.Data["says"] != says {
			t.Errorf("the workload %s: %v, %v", at, cm.Data, err)
		}
	}
	for _, bd := range env.BundleDeployments.All(t, names.ClusterNamespace(ws, "local"), nil).Items {
		if text := fmt.Sprintf("%+v", bd); containsCanary(text) {
			t.Errorf("deployment %s shows a password", bd.Name)
		}
	}
}
