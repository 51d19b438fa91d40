package bundle

import (
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Deployment is what one cluster is to run of a bundle.
type Deployment struct {
	// Options as they may be stored: evaluated for the cluster, without values.
	Options fleet.BundleDeploymentOptions
	// ID is the identity of the content and of the options with their values.
	ID string
	// Values are JSON, ValuesHash is their digest; both are empty where there are none.
	Values     []byte
	ValuesHash string
}

// For evaluates options, merged for a cluster, over the content of the given name. Errors are of type *TemplateError, or
// say why the options cannot be encoded.
func For(merged fleet.BundleDeploymentOptions, content string, cluster *fleet.Cluster) (Deployment, error) {
	options, err := Template(merged, FactsOf(cluster))
	if err != nil {
		return Deployment{}, err
	}
	id, err := DeploymentID(content, options)
	if err != nil {
		return Deployment{}, err
	}
	stripped, values, hash := SplitValues(options)
	return Deployment{Options: stripped, ID: id, Values: values, ValuesHash: hash}, nil
}

// FactsOf returns what templates may refer to on a cluster.
func FactsOf(cluster *fleet.Cluster) ClusterFacts {
	facts := ClusterFacts{
		ClusterNamespace: cluster.Namespace, ClusterName: cluster.Name,
		Labels: cluster.Labels, Annotations: cluster.Annotations,
	}
	if cluster.Spec.TemplateValues != nil {
		facts.TemplateValues = cluster.Spec.TemplateValues.Data
	}
	return facts
}
