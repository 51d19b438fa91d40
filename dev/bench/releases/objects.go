package releases

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// targets is how many namespaces the releases are in.
const targets = 10

func name(i int) string { return fmt.Sprintf("release-%05d", i) }

// content returns what the i-th release is made of at a round: two small objects that are ready once they are there.
func content(i int, round string) (*fleet.Content, error) {
	manifest := fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s}
data: {round: %[2]q}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s}
`, name(i), round)
	encoded, err := bundle.Encode([]fleet.BundleResource{{Name: "objects.yaml", Content: manifest}})
	if err != nil {
		return nil, err
	}
	return &fleet.Content{ObjectMeta: metav1.ObjectMeta{Name: encoded.Name}, Content: encoded.Data, SHA256Sum: encoded.SHA256}, nil
}

// spec returns what the manager would ask the agent for.
func spec(i int, content *fleet.Content) (fleet.BundleDeploymentSpec, error) {
	options := fleet.BundleDeploymentOptions{DefaultNamespace: fmt.Sprintf("releases-%d", i%targets)}
	id, err := bundle.DeploymentID(content.Name, options)
	return fleet.BundleDeploymentSpec{
		StagedOptions: options, StagedDeploymentID: id, Options: options, DeploymentID: id,
	}, err
}

func deployment(i int, spec fleet.BundleDeploymentSpec) *fleet.BundleDeployment {
	return &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace(), Name: name(i), Finalizers: []string{names.FinalizerDeployment},
			Labels: map[string]string{names.LabelBundleName: name(i), names.LabelBundleNamespace: workspace},
		},
		Spec: spec,
	}
}
