package removals

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// value returns what the ConfigMap of a bundle says on a cluster.
func (w *world) awaitValue(cluster, object, value string) {
	w.t.Helper()
	api := w.members[cluster].downstream.Kubernetes.CoreV1().ConfigMaps(w.workspace)
	harness.Eventually(w.t, fmt.Sprintf("%s on %s says %s", object, cluster, value), func(ctx context.Context) error {
		cm, err := api.Get(ctx, object, metav1.GetOptions{})
		if err == nil && cm.Data["key"] != value {
			return fmt.Errorf("it says %s", cm.Data["key"])
		}
		return err
	})
}

// A template fails on a cluster that lost a label: what runs there stays, the
// bundle says why, and the other cluster goes on.
func templateThatFails(t *testing.T) {
	w := newWorld(t, "one", "two")
	region := func(cluster string, labels map[string]string) {
		hub.Clusters.Edit(t, w.key(cluster), func(c *fleet.Cluster) { c.Labels = labels })
	}
	region("one", map[string]string{"region": "eu"})
	region("two", map[string]string{"region": "us"})
	web := w.bundle("web", func(b *fleet.Bundle) {
		b.Spec.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"region": "${ .ClusterLabels.region }"}}}
	})
	w.awaitRuns(where{"web": on("one", "two")})
	before, was := w.traces(where{"web": on("one")}), w.members["one"].uid("web")

	region("one", map[string]string{"zone": "eu-1"})
	hub.Bundles.AwaitCondition(t, web, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "one"})
	hub.Bundles.Edit(t, web, func(b *fleet.Bundle) { b.Spec.Resources[0].Content = configMap("web", "2") })
	w.awaitValue("two", "web", "2")
	if now := w.members["one"].uid("web"); now != was {
		t.Error("the deployment was made anew")
	}
	w.untouched(before)

	region("one", map[string]string{"region": "eu"})
	w.awaitValue("one", "web", "2")
	w.awaitRuns(where{"web": on("one", "two")})
}

// An agent whose token is refused sees nothing of the hub. It removes nothing;
// the other cluster goes on, and the hub says whose word is missing.
func agentCredentialExpired(t *testing.T) {
	w := newWorld(t, "one", "two")
	one := w.members["one"]
	web := w.bundle("web")
	w.awaitRuns(where{"web": on("one", "two")})
	before := w.traces(where{"web": on("one")})
	secrets := one.downstream.Secrets
	secret := kube.Key{Namespace: one.namespace, Name: names.SecretAgent}
	good := secrets.Await(t, secret, accept)

	one.stop()
	token := regexp.MustCompile(`token: \S+`)
	secrets.Edit(t, secret, func(s *corev1.Secret) {
		s.Data[names.KeyKubeconfig] = token.ReplaceAll(s.Data[names.KeyKubeconfig], []byte("token: expired"))
		if string(s.Data[names.KeyKubeconfig]) == string(good.Data[names.KeyKubeconfig]) {
			t.Fatal("the kubeconfig holds no token")
		}
	})
	one.start()
	hub.Bundles.Edit(t, web, only())
	w.await(want{runs: where{"web": nil}, removing: where{"web": on("one")}})
	w.untouched(before)

	// A token that is accepted needs no restart.
	secrets.Edit(t, secret, func(s *corev1.Secret) { s.Data = good.Data })
	w.awaitRuns(where{"web": nil})
}

// A repository whose password was changed cannot be read. What runs stays and
// can still be targeted; another repository goes on.
func repositoryCredentialExpired(t *testing.T) {
	w := newWorld(t, "one", "two")
	r, shop := w.repository("api", "web")
	both := where{"shop-api": on("one", "two"), "shop-web": on("one", "two")}
	w.awaitRuns(both)
	before := w.traces(both)

	r.Serve(t, gitserver.Behaviour{Username: "bot", Password: "new-canary"})
	hub.GitRepos.AwaitCondition(t, shop, fleet.Condition{Type: fleet.ConditionGitPolling, Status: metav1.ConditionFalse, Reason: "AuthenticationFailed"})
	other := harness.GitRepository(t)
	other.Push(t, repo.Change{Write: w.folder("other", "other")})
	hub.GitRepos.Make(t, harness.NewGitRepo(w.workspace, "more", other, func(gr *fleet.GitRepo) { gr.Spec.Paths = []string{"*"} }))
	w.objects["more-other"] = []string{"shop-other"}
	w.await(want{
		runs:     where{"shop-api": on("one", "two"), "shop-web": on("one", "two"), "more-other": on("one", "two")},
		troubled: []string{"gitrepo shop"},
	})
	w.untouched(before)

	hub.GitRepos.Edit(t, shop, func(gr *fleet.GitRepo) { gr.Spec.Targets = []fleet.GitTarget{{Name: "two", ClusterName: "two"}} })
	w.await(want{
		runs:     where{"shop-api": on("two"), "shop-web": on("two"), "more-other": on("one", "two")},
		troubled: []string{"gitrepo shop"},
	})
	r.Serve(t, gitserver.Behaviour{})
	hub.GitRepos.Await(t, shop, func(gr *fleet.GitRepo) error {
		if gr.Status.Summary.Ready != 2 {
			return errors.New("it is not ready")
		}
		return nil
	})
	hub.GitRepos.AwaitReady(t, shop)
}
