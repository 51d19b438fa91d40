package targets

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func copying(kindsAndNames ...string) func(*fleet.Bundle) {
	return func(b *fleet.Bundle) { b.Spec.DownstreamResources = resources(kindsAndNames...) }
}

func resources(kindsAndNames ...string) []fleet.DownstreamResource {
	var list []fleet.DownstreamResource
	for i := 0; i < len(kindsAndNames); i += 2 {
		list = append(list, fleet.DownstreamResource{Kind: kindsAndNames[i], Name: kindsAndNames[i+1]})
	}
	return list
}

// source makes a Secret of a workspace.
func source(t *testing.T, workspace, name, password string) {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"password": []byte(password)},
	}
	if _, err := env.Kubernetes.CoreV1().Secrets(workspace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func patchSource(t *testing.T, workspace, name, patch string) {
	t.Helper()
	_, err := env.Kubernetes.CoreV1().Secrets(workspace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// awaitCopied returns the deployment once it copies generation, and its Secret holds exactly this: "Secret pull/password=x".
func awaitCopied(t *testing.T, key kube.Key, generation int64, want ...string) *fleet.BundleDeployment {
	t.Helper()
	return env.BundleDeployments.Await(t, key, func(bd *fleet.BundleDeployment) error {
		held, err := heldCopies(t, bd)
		if err != nil {
			return err
		}
		if got, want := fmt.Sprint(held), fmt.Sprint(want); got != want || bd.Spec.DownstreamResourcesGeneration != generation {
			return fmt.Errorf("generation %d copies %s, want generation %d and %s", bd.Spec.DownstreamResourcesGeneration, got, generation, want)
		}
		return nil
	})
}

func heldCopies(t *testing.T, bd *fleet.BundleDeployment) ([]string, error) {
	t.Helper()
	secret, err := env.Kubernetes.CoreV1().Secrets(bd.Namespace).Get(t.Context(), bd.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	encoded := secret.Data[names.KeyDownstreamResources]
	if digest := names.Digest(encoded); digest != bd.Annotations[names.AnnotationDownstreamResources] {
		return nil, fmt.Errorf("the Secret is not the one that the deployment means")
	}
	list, err := copies.Decode(encoded)
	var held []string
	for _, c := range list {
		for key, data := range c.Data {
			held = append(held, fmt.Sprintf("%s/%s=%s", c.Ref(), key, data))
		}
		for key, text := range c.Text {
			held = append(held, fmt.Sprintf("%s/%s=%s", c.Ref(), key, text))
		}
	}
	return held, err
}

// What a bundle names is written beside its deployments, and written again when it changes: as an event, not after a while. A
// source that is gone takes nothing away.
func TestSourcesReachDeploymentsWithEveryChange(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "settings"}, Data: map[string]string{"a": "b"}}
	if _, err := env.Kubernetes.CoreV1().ConfigMaps(ws).Create(t.Context(), settings, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b := bundle(t, ws, "web", copying("secret", "pull", "ConfigMap", "settings"))
	awaitStalled(t, b, "downstreamResources: Secret "+ws+"/pull is not there: create it, or take it out of downstreamResources")
	if on := deployedOn(t, b); len(on) > 0 {
		t.Errorf("it is deployed without its copies on %v", on)
	}
	source(t, ws, "pull", "first")
	key := deployment(b, one)
	awaitCopied(t, key, 1, "ConfigMap settings/a=b", "Secret pull/password=first")

	patchSource(t, ws, "pull", `{"stringData":{"password":"second"}}`)
	bd := awaitCopied(t, key, 2, "ConfigMap settings/a=b", "Secret pull/password=second")
	id := bd.Spec.DeploymentID
	patchSource(t, ws, "pull", `{"metadata":{"annotations":{"touched":"true"}}}`)
	if _, err := env.Kubernetes.CoreV1().ConfigMaps(ws).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"data":{"a":"c"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if bd = awaitCopied(t, key, 3, "ConfigMap settings/a=c", "Secret pull/password=second"); bd.Spec.DeploymentID != id {
		t.Error("the deploymentID, which Fleet would compute alike, has changed")
	}

	if err := env.Kubernetes.CoreV1().Secrets(ws).Delete(t.Context(), "pull", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitStalled(t, b, "is not there: create it")
	awaitCopied(t, key, 3, "ConfigMap settings/a=c", "Secret pull/password=second")
	source(t, ws, "pull", "third")
	awaitCopied(t, key, 4, "ConfigMap settings/a=c", "Secret pull/password=third")

	// What is named no more is not left behind on the hub.
	env.Bundles.Edit(t, b, copying())
	awaitCopied(t, key, 5)
}

// Customizations name sources for their clusters alone.
func TestCustomizationsNameSources(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	dev, prod := cluster(t, ws, "one", map[string]string{"env": "dev"}), cluster(t, ws, "two", map[string]string{"env": "prod"})
	source(t, ws, "all", "x")
	source(t, ws, "prod-only", "y")
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		copying("Secret", "all")(b)
		custom := inEnv("prod")
		custom.DownstreamResources = resources("Secret", "prod-only")
		b.Spec.Targets = []fleet.BundleTarget{custom, everywhere()}
	})
	awaitCopied(t, deployment(b, dev), 1, "Secret all/password=x")
	awaitCopied(t, deployment(b, prod), 1, "Secret all/password=x", "Secret prod-only/password=y")
	patchSource(t, ws, "prod-only", `{"stringData":{"password":"z"}}`)
	awaitCopied(t, deployment(b, prod), 2, "Secret all/password=x", "Secret prod-only/password=z")
	awaitCopied(t, deployment(b, dev), 1, "Secret all/password=x")
}

// What Flotilla reaches others with goes to no cluster: who may push to one repository must not come by the credentials of another
// one, or of a cluster.
func TestCredentialsOfTheHubAreNotCopied(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	cluster(t, ws, "one", nil)
	env.Clusters.Make(t, &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "imported"}, Spec: fleet.ClusterSpec{KubeConfigSecret: "kubeconfig"}})
	repo := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "private"}, Spec: fleet.GitRepoSpec{
		Repo: "https://git.example.invalid/private", Paused: true, ClientSecretName: "deploy-key", HelmSecretName: "charts",
	}}
	env.GitRepos.Make(t, repo)
	for name, says := range map[string]string{
		"kubeconfig": "Cluster imported is reached with it", "deploy-key": "GitRepo private works with it", "charts": "GitRepo private works with it",
		names.SecretGitCredential: "it is what GitRepos use that name no Secret",
	} {
		source(t, ws, name, "x")
		b := bundle(t, ws, "web-"+name, copying("Secret", name))
		awaitStalled(t, b, "downstreamResources: Secret "+ws+"/"+name+" cannot be copied: "+says)
		if on := deployedOn(t, b); len(on) > 0 {
			t.Errorf("%s is deployed on %v", name, on)
		}
	}
	// A refusal ends with what it was for.
	env.GitRepos.Edit(t, harness.KeyOf(repo), func(r *fleet.GitRepo) { r.Spec.HelmSecretName = "" })
	awaitOn(t, kube.Key{Namespace: ws, Name: "web-charts"}, "one", "imported")
	env.GitRepos.Edit(t, harness.KeyOf(repo), func(r *fleet.GitRepo) { r.Spec.WebhookSecret = "charts" })
	awaitStalled(t, kube.Key{Namespace: ws, Name: "web-charts"}, "cannot be copied: GitRepo private works with it")
	values := bundle(t, ws, "with-values", nil)
	for name, kind := range map[string]corev1.SecretType{"values": names.SecretTypeBundleValues, "agent": names.SecretTypeAgentCredential} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: name}, Type: kind}
		if _, err := env.Kubernetes.CoreV1().Secrets(ws).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		awaitStalled(t, bundle(t, ws, "web-"+name, copying("Secret", name)), "cannot be copied: it is")
	}
	awaitOn(t, values, "one", "imported")
	awaitStalled(t, bundle(t, ws, "other-kind", copying("Deployment", "web")), "downstreamResources[0].kind: Deployment cannot be copied: only Secret and ConfigMap can")
	awaitStalled(t, bundle(t, ws, "other-namespace", copying("Secret", "../kube-system/x")), "downstreamResources[0].name:")
}

// While a bundle is paused its deployments keep the copies they have, also when their Secret is lost.
func TestPausedDeploymentsKeepTheirCopies(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := fleetOf(t, ws, "one")["one"]
	source(t, ws, "pull", "first")
	b := bundle(t, ws, "web", copying("Secret", "pull"))
	key := deployment(b, one)
	awaitCopied(t, key, 1, "Secret pull/password=first")
	answer(t, b, one)
	env.Bundles.Edit(t, b, func(b *fleet.Bundle) { b.Spec.Paused = true })
	env.BundleDeployments.Await(t, key, func(bd *fleet.BundleDeployment) error {
		if !bd.Spec.Paused {
			return fmt.Errorf("it is not paused")
		}
		return nil
	})
	if err := env.Kubernetes.CoreV1().Secrets(key.Namespace).Delete(t.Context(), key.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitCopied(t, key, 1, "Secret pull/password=first")
	patchSource(t, ws, "pull", `{"stringData":{"password":"second"}}`)
	env.Bundles.Await(t, b, func(b *fleet.Bundle) error {
		if b.Status.Summary.OutOfSync != 1 {
			return fmt.Errorf("the summary is %+v", b.Status.Summary)
		}
		return nil
	})
	probe(t, ws, "one")
	awaitCopied(t, key, 1, "Secret pull/password=first")
	env.Bundles.Edit(t, b, func(b *fleet.Bundle) { b.Spec.Paused = false })
	awaitCopied(t, key, 2, "Secret pull/password=second")
}

// A change of a source is rolled out like any other: where one cluster may be unavailable at a time, one is written at a time.
func TestSourcesAreRolledOut(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	clusters := fleetOf(t, ws, "one", "two")
	one, two, most := clusters["one"], clusters["two"], intstr.FromInt32(1)
	source(t, ws, "pull", "first")
	b := bundle(t, ws, "web", func(b *fleet.Bundle) {
		copying("Secret", "pull")(b)
		b.Spec.RolloutStrategy = &fleet.RolloutStrategy{MaxUnavailable: &most}
	})
	for _, c := range []kube.Key{one, two} {
		awaitCopied(t, deployment(b, c), 1, "Secret pull/password=first")
		answer(t, b, c)
	}
	env.Bundles.AwaitReady(t, b)
	patchSource(t, ws, "pull", `{"stringData":{"password":"second"}}`)
	awaitCopied(t, deployment(b, one), 2, "Secret pull/password=second")
	env.Bundles.Await(t, b, func(b *fleet.Bundle) error {
		if s := b.Status.Summary; s.WaitApplied != 1 || s.OutOfSync != 1 {
			return fmt.Errorf("the summary is %+v", s)
		}
		return nil
	})
	awaitCopied(t, deployment(b, two), 1, "Secret pull/password=first")
	answer(t, b, one)
	awaitCopied(t, deployment(b, two), 2, "Secret pull/password=second")
	answer(t, b, two)
	env.Bundles.AwaitReady(t, b)
}
