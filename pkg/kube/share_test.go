package kube

import (
	"encoding/json"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

const storedDeployment = `{
"metadata": {"name": "shop", "namespace": "cluster-1", "labels": {"fleet.cattle.io/commit": "0123456789", "a": "b"}, "finalizers": ["f"]},
"spec": {"deploymentID": "s-1:2", "stagedDeploymentID": "s-1:2",
  "options": {"helm": {"releaseName": "shop"}, "namespaceLabels": {"x": "y"}}, "stagedOptions": {"helm": {"releaseName": "shop"}, "namespaceLabels": {"x": "y"}}},
"status": {"appliedDeploymentID": "s-1:2", "conditions": [{"type": "Ready", "status": "True", "message": "fine"}],
  "resources": [{"kind": "ConfigMap", "apiVersion": "v1", "namespace": "n", "name": "m"}]}}`

func decoded(t testing.TB, text string) *fleet.BundleDeployment {
	t.Helper()
	bd := &fleet.BundleDeployment{}
	if err := json.Unmarshal([]byte(text), bd); err != nil {
		t.Fatal(err)
	}
	return bd
}

func TestShareChangesNothing(t *testing.T) {
	got := decoded(t, storedDeployment)
	share(got)
	if diff := cmp.Diff(decoded(t, storedDeployment), got); diff != "" {
		t.Error(diff)
	}
	other := decoded(t, `{"metadata": {"name": "a"}, "spec": {"options": {"namespace": "x"}, "stagedOptions": {"namespace": "y"}}}`)
	share(other)
	if other.Spec.Options.TargetNamespace != "x" || other.Spec.StagedOptions.TargetNamespace != "y" {
		t.Errorf("options that differ are not shared: %+v", other.Spec)
	}
}

func TestShareHoldsOneCopy(t *testing.T) {
	a, b := decoded(t, storedDeployment), decoded(t, storedDeployment)
	share(a)
	share(b)
	if a.Spec.Options.Helm != a.Spec.StagedOptions.Helm {
		t.Error("options that are both staged and current are held twice")
	}
	same := func(what, x, y string) {
		t.Helper()
		if unsafe.StringData(x) != unsafe.StringData(y) {
			t.Errorf("%s is held twice", what)
		}
	}
	same("a deploymentID", a.Spec.DeploymentID, b.Status.AppliedDeploymentID)
	same("a label", a.Labels["fleet.cattle.io/commit"], b.Labels["fleet.cattle.io/commit"])
	same("a message", a.Status.Conditions[0].Message, b.Status.Conditions[0].Message)
	same("a resource", a.Status.Resources[0].Kind, b.Status.Resources[0].Kind)
}
