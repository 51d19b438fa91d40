package webhooks

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// What keeps webhooks from being verified is said on the GitRepo, and taken back as soon as it is right.
func TestWebhookSecretIsLookedAt(t *testing.T) {
	env.StartManager(t, nil)
	workspace := env.Workspace(t)
	key := harness.KeyOf(env.GitRepos.Make(t, &fleet.GitRepo{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "shop"},
		Spec:       fleet.GitRepoSpec{Repo: "https://git.invalid/shop", WebhookSecret: "hook"},
	}))
	says := func(reason, message string) {
		t.Helper()
		env.GitRepos.AwaitCondition(t, key, fleet.Condition{
			Type: fleet.ConditionWebhookSecret, Status: metav1.ConditionFalse, Reason: reason, Message: message,
		})
	}
	says("SecretMissing", "Secret hook is not in namespace "+workspace)
	secret := kube.Key{Namespace: workspace, Name: "hook"}
	env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "hook"}, Data: map[string][]byte{"sourcehut": []byte("marked-value")},
	})
	says("SecretInvalid", "it has none of the keys github")
	env.Secrets.Edit(t, secret, func(s *corev1.Secret) { s.Data = map[string][]byte{"github": []byte("\n")} })
	says("SecretInvalid", "nothing stands under the key")
	env.Secrets.Edit(t, secret, func(s *corev1.Secret) { s.Data = map[string][]byte{"azure-username": []byte("marked-value")} })
	says("SecretInvalid", "belong together")
	env.Secrets.Edit(t, secret, func(s *corev1.Secret) { s.Data = map[string][]byte{"github": []byte("marked-value")} })
	repo := env.GitRepos.Await(t, key, func(repo *fleet.GitRepo) error {
		for _, c := range repo.Status.Conditions {
			if c.Type == fleet.ConditionWebhookSecret {
				return errors.New("it still says " + c.Message)
			}
		}
		return nil
	})
	for _, c := range repo.Status.Conditions {
		if strings.Contains(c.Message, "marked-value") {
			t.Errorf("%s tells a secret", c.Type)
		}
	}
}
