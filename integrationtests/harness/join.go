package harness

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// JoinValues returns what a ClusterRegistrationToken gives to agents that join, as the chart of the agent writes it into the Secret
// that they join with. It waits until the manager has made the token.
func (e *Environment) JoinValues(t testing.TB, workspace, token string) map[string]string {
	t.Helper()
	var values struct {
		APIServerURL     string `json:"apiServerURL"`
		APIServerCA      string `json:"apiServerCA"`
		Token            string `json:"token"`
		TokenName        string `json:"tokenName"`
		ClusterNamespace string `json:"clusterNamespace"`
		Registration     string `json:"systemRegistrationNamespace"`
	}
	e.Secrets.Await(t, kube.Key{Namespace: workspace, Name: token}, func(s *corev1.Secret) error {
		if len(s.Data[names.KeyValues]) == 0 {
			return errors.New("it is empty")
		}
		return yaml.Unmarshal(s.Data[names.KeyValues], &values)
	})
	return map[string]string{
		names.KeyAPIServerURL: values.APIServerURL, names.KeyAPIServerCA: values.APIServerCA, names.KeyToken: values.Token,
		names.KeyTokenName: values.TokenName, names.KeyClusterNamespace: values.ClusterNamespace, names.KeyRegistrationNamespace: values.Registration,
	}
}
