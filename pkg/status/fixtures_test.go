package status_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

const workspace = "fleet-default"

// deployment returns a deployment of a bundle of the GitRepo repo on a
// cluster, in the given state.
func deployment(bundle, cluster string, state fleet.BundleState, changes ...func(*fleet.BundleDeployment)) *fleet.BundleDeployment {
	bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: names.ClusterNamespace(workspace, cluster), Name: bundle,
		Labels: map[string]string{
			names.LabelBundleName: bundle, names.LabelBundleNamespace: workspace, names.LabelRepoName: "repo",
			names.LabelCluster: cluster, names.LabelClusterNamespace: workspace,
		},
	}}
	bd.Spec.StagedDeploymentID, bd.Spec.DeploymentID = "id", "id"
	bd.Status = fleet.BundleDeploymentStatus{AppliedDeploymentID: "id", Ready: true, NonModified: true}
	switch state {
	case fleet.ErrApplied:
		bd.Status.AppliedDeploymentID = ""
		bd.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionDeployed, Status: "False", Message: "it failed"}}
	case fleet.WaitApplied:
		bd.Status.AppliedDeploymentID = ""
	case fleet.NotReady:
		bd.Status.Ready = false
	case fleet.OutOfSync:
		bd.Spec.StagedDeploymentID = "newer"
	case fleet.Modified:
		bd.Status.NonModified = false
	default: // Ready is what it is already, and no deployment is in another state
	}
	for _, change := range changes {
		change(bd)
	}
	return bd
}

func removing(bd *fleet.BundleDeployment) {
	now := at(0)
	bd.DeletionTimestamp = &now
}

func withObjects(objects ...string) func(*fleet.BundleDeployment) {
	return func(bd *fleet.BundleDeployment) {
		for _, o := range objects {
			bd.Status.Resources = append(bd.Status.Resources, resource(o))
		}
		bd.Status.ResourceCounts = fleet.ResourceCounts{Ready: len(objects), DesiredReady: len(objects)}
	}
}

// resource returns the object that is written as "apiVersion Kind ns/name".
func resource(text string) fleet.BundleDeploymentResource {
	parts := strings.Fields(text)
	r := fleet.BundleDeploymentResource{APIVersion: parts[0], Kind: parts[1], Name: parts[2]}
	if namespace, name, ok := strings.Cut(parts[2], "/"); ok {
		r.Namespace, r.Name = namespace, name
	}
	return r
}

func notReady(text, state string, messages ...string) func(*fleet.BundleDeployment) {
	return func(bd *fleet.BundleDeployment) {
		r := resource(text)
		bd.Status.NonReadyStatus = append(bd.Status.NonReadyStatus, fleet.NonReadyStatus{
			Kind: r.Kind, APIVersion: r.APIVersion, Namespace: r.Namespace, Name: r.Name,
			Summary: fleet.ResourceSummary{State: state, Transitioning: state == "updating", Error: state == "error", Message: messages},
		})
	}
}

func modified(text, patch string) func(*fleet.BundleDeployment) {
	return func(bd *fleet.BundleDeployment) {
		r := resource(text)
		m := fleet.ModifiedStatus{Kind: r.Kind, APIVersion: r.APIVersion, Namespace: r.Namespace, Name: r.Name, Patch: patch}
		switch patch {
		case "missing":
			m.Create, m.Patch = true, ""
		case "foreign":
			m.Create, m.Exist, m.Patch = true, true, ""
		case "extra":
			m.Delete, m.Patch = true, ""
		}
		bd.Status.ModifiedStatus = append(bd.Status.ModifiedStatus, m)
	}
}

func targets(clusters ...string) []status.Target {
	var list []status.Target
	for _, c := range clusters {
		list = append(list, status.Target{Cluster: workspace + "/" + c})
	}
	return list
}

func bundleNamed(name string) *fleet.Bundle {
	return &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name, Generation: 2}}
}

// showConditions writes conditions as "Type=Status Reason: message", one a
// line.
func showConditions(t testing.TB, conditions []fleet.Condition) string {
	t.Helper()
	text := ""
	for _, c := range conditions {
		text += fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason)
		if c.Message != "" {
			text += ": " + c.Message
		}
		text += "\n"
	}
	return text
}
