package delivery

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Is says whether the deployment delivers the agent itself. Only the manager makes one that belongs to no bundle: whatever
// becomes of bundles has the label of one.
func Is(bd *fleet.BundleDeployment) bool {
	return bd.Labels[names.LabelBundleName] == "" && bd.Labels[names.LabelAgentOf] == "true"
}

// Wanted says whether the agent of the cluster gets what it is made of as a deployment: it has joined by itself, and
// neither it nor the cluster's label says that its Deployment is somebody else's.
func Wanted(cluster *fleet.Cluster) bool {
	return cluster.Spec.KubeConfigSecret == "" && cluster.Status.Agent.Managed && cluster.Labels[names.LabelNonManagedAgent] != "true"
}

// Step is what becomes of the deployment of a cluster's own agent.
type Step int

// The steps.
const (
	// Leave has nothing done: there is none, and none is wanted, or what is there goes, which is an event.
	Leave Step = iota
	// Hold tells the deployment that is there to leave everything as it is: see Held.
	Hold
	// Keep makes it what Deployment returns.
	Keep
	// Refuse says that the deployment that is there is a bundle's.
	Refuse
)

// Next returns the step for a cluster whose deployment of that name is existing, nil if there is none.
func Next(cluster *fleet.Cluster, existing *fleet.BundleDeployment) Step {
	ours := existing != nil && Is(existing)
	switch {
	case !Wanted(cluster) && ours && !existing.Spec.Paused:
		return Hold
	case !Wanted(cluster):
		return Leave
	case existing != nil && !ours:
		return Refuse
	case existing != nil && existing.DeletionTimestamp != nil:
		return Leave
	default:
		return Keep
	}
}

// AsWanted says whether a deployment needs no write to be what is wanted.
func AsWanted(existing, want *fleet.BundleDeployment) bool {
	return existing != nil && equality.Semantic.DeepEqual(existing.Spec, want.Spec) &&
		equality.Semantic.DeepEqual(existing.Labels, want.Labels) && equality.Semantic.DeepEqual(existing.Finalizers, want.Finalizers)
}

// ComesBack says whether an object that is missing of what a deployment consists of is to be made again. Of an agent's own its
// Deployment is not: the agent is being uninstalled then, and would bring itself back while it ends.
func ComesBack(bd *fleet.BundleDeployment, kind string) bool { return !Is(bd) || kind != "Deployment" }

// Place returns the namespace of an agent that has joined by itself, which is where it was installed.
func Place(cluster *fleet.Cluster) (string, error) {
	at, asked := cluster.Status.Agent.Namespace, cluster.Spec.AgentNamespace
	switch {
	case !names.IsLabel(at):
		return "", &InvalidError{"the agent does not say which namespace it runs in: update the agent"}
	case asked != "" && asked != at:
		return "", &InvalidError{fmt.Sprintf("spec.agentNamespace is %s, and the agent runs in %s: install the chart flotilla-agent in %s, "+
			"uninstall it in %s, or correct the field", asked, at, asked, at)}
	}
	return at, nil
}

// Resources returns the objects as the resources of a bundle.
func Resources(o Objects) ([]fleet.BundleResource, error) {
	list := make([]fleet.BundleResource, 0, len(o.Apply))
	for _, object := range o.Apply {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("encoding the agent: %w", err)
		}
		delete(fields, "status")
		text, err := yaml.Marshal(fields)
		if err != nil {
			return nil, fmt.Errorf("encoding the agent: %w", err)
		}
		list = append(list, fleet.BundleResource{Name: fmt.Sprintf("%s.yaml", fields["kind"]), Content: string(text)})
	}
	return list, nil
}

// Options are those that an agent is deployed with in its namespace: what is there is taken over, drift is put right,
// and nothing of it ever goes with its deployment.
func Options(namespace string) fleet.BundleDeploymentOptions {
	yes, no := true, false
	return fleet.BundleDeploymentOptions{
		DefaultNamespace: namespace,
		CreateNamespace:  &no,
		KeepResources:    &yes,
		CorrectDrift:     &fleet.CorrectDrift{Enabled: true},
		Helm:             &fleet.HelmOptions{TakeOwnership: &yes},
	}
}

// Deployment returns the deployment of a cluster's agent as it should be; existing is the one that is there, or nil.
func Deployment(cluster *fleet.Cluster, existing *fleet.BundleDeployment, deploymentID string, options fleet.BundleDeploymentOptions) *fleet.BundleDeployment {
	bd := &fleet.BundleDeployment{}
	bd.Namespace, bd.Name = names.ClusterNamespace(cluster.Namespace, cluster.Name), names.AgentBundle(cluster.Name)
	if existing != nil {
		bd = existing.DeepCopy()
	}
	bd.Labels = map[string]string{
		names.LabelAgentOf: "true", names.LabelCluster: cluster.Name, names.LabelClusterNamespace: cluster.Namespace, names.LabelManaged: "true",
	}
	if !slices.Contains(bd.Finalizers, names.FinalizerDeployment) && bd.DeletionTimestamp == nil {
		bd.Finalizers = append(bd.Finalizers, names.FinalizerDeployment)
	}
	bd.Spec = fleet.BundleDeploymentSpec{
		Paused: cluster.Spec.Paused, StagedOptions: options, StagedDeploymentID: deploymentID,
		Options: options, DeploymentID: deploymentID, CorrectDrift: options.CorrectDrift,
	}
	if existing != nil && cluster.Spec.Paused {
		bd.Spec.Options, bd.Spec.DeploymentID = existing.Spec.Options, existing.Spec.DeploymentID
	}
	return bd
}

// Held returns the deployment, told to leave everything as it is: it is not the hub's any more.
func Held(existing *fleet.BundleDeployment) *fleet.BundleDeployment {
	bd := existing.DeepCopy()
	bd.Spec.Paused = true
	return bd
}
