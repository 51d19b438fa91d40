package measures

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const (
	workspace = names.WorkspaceDefault
	// labelHalf divides the clusters in two: one and other.
	labelHalf = "bench/half"
	one       = "one"
	other     = "other"
	// labelTouched marks the clusters that an edit of targets touches.
	labelTouched = "bench/touched"
	touched      = 10
	// labelLeft, on a cluster, takes it out of the targets of bundles that mind it.
	labelLeft = "bench/left"
)

// cluster returns the i-th simulated cluster.
func cluster(i int) *fleet.Cluster {
	labels := map[string]string{"env": "bench", labelHalf: one}
	if i%2 == 1 {
		labels[labelHalf] = other
	}
	if i < touched {
		labels[labelTouched] = "true"
	}
	return &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: clusterName(i), Labels: labels}}
}

func clusterName(i int) string { return fmt.Sprintf("sim-%05d", i) }

func clusterKeys(from, to int) []kube.Key {
	var keys []kube.Key
	for i := from; i < to; i++ {
		keys = append(keys, kube.Key{Namespace: workspace, Name: clusterName(i)})
	}
	return keys
}

// bundle returns a small bundle: one ConfigMap of the given content.
func bundle(name, content string, target metav1.LabelSelector) *fleet.Bundle {
	return &fleet.Bundle{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name},
		Spec: fleet.BundleSpec{
			BundleDeploymentOptions: fleet.BundleDeploymentOptions{DefaultNamespace: "bench"},
			Resources: []fleet.BundleResource{{Name: "configmap.yaml", Content: fmt.Sprintf(
				"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  content: %q\n", name, content)}},
			Targets: targets(target),
		},
	}
}

func bundleName(i int) string { return fmt.Sprintf("bench-%02d", i) }

func targets(selector metav1.LabelSelector) []fleet.BundleTarget {
	return []fleet.BundleTarget{{Name: "bench", ClusterSelector: &selector}}
}

// everywhere selects all clusters.
func everywhere() metav1.LabelSelector { return metav1.LabelSelector{} }

// labelled selects clusters by the value of a label.
func labelled(label, value string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{label: value}}
}

// without selects clusters that have none of the labels.
func without(labels ...string) metav1.LabelSelector {
	var selector metav1.LabelSelector
	for _, label := range labels {
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: label, Operator: metav1.LabelSelectorOpDoesNotExist,
		})
	}
	return selector
}

// fresh returns the deployment as it was when it was created: what the API server and agents have written is left out.
func fresh(bd *fleet.BundleDeployment) *fleet.BundleDeployment {
	return &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: bd.Namespace, Name: bd.Name,
			Labels: bd.Labels, Annotations: bd.Annotations, Finalizers: slices.Clone(bd.Finalizers),
		},
		Spec: bd.Spec,
	}
}
