package rollout

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// World is what was observed of one bundle.
type World struct {
	Bundle  *fleet.Bundle
	Targets []Target
}

// Target is one cluster that the bundle should be deployed to.
type Target struct {
	Cluster *fleet.Cluster
	// Options that hold on this cluster, without helm values.
	Options fleet.BundleDeploymentOptions
	// DeploymentID of Options with values, over the bundle's content.
	DeploymentID string
	// ValuesHash names the values that belong to DeploymentID; empty if none.
	ValuesHash string
	// Problem is why the options could not be computed for this cluster; its
	// deployment then stays as it is.
	Problem string
	// Existing is the deployment that is there now; nil if none.
	Existing *fleet.BundleDeployment
}

// Reason says why a step is taken or held back.
type Reason string

// Reasons of steps.
const (
	// ReasonMissing: there is no deployment yet.
	ReasonMissing Reason = "Missing"
	// ReasonChanged: content or options differ.
	ReasonChanged Reason = "Changed"
	// ReasonSettings: nothing that is deployed differs, but a setting of the
	// deployment does, such as pause, dependencies, labels or its finalizer.
	ReasonSettings Reason = "Settings"
	// ReasonClusterNotReady: the cluster has no namespace on the hub yet.
	ReasonClusterNotReady Reason = "ClusterNotReady"
	// ReasonClusterLeaving: the cluster is being deleted.
	ReasonClusterLeaving Reason = "ClusterLeaving"
	// ReasonRemoving: the former deployment is still being removed.
	ReasonRemoving Reason = "Removing"
	// ReasonNameConflict: another bundle's deployment has the name.
	ReasonNameConflict Reason = "NameConflict"
	// ReasonInvalidOptions: the options do not hold on this cluster.
	ReasonInvalidOptions Reason = "InvalidOptions"
)

// Step is one write, or one write that is held back.
type Step struct {
	Target Target
	Reason Reason
	// Message says more to a person where the reason alone does not.
	Message string
	// Deployment is what should be written; nil for a step that is held.
	Deployment *fleet.BundleDeployment
}

// Plan is what is to be done for one bundle. Steps are in the order of the
// targets.
type Plan struct {
	Create, Update, Hold []Step
	// Unchanged counts the targets whose deployment is already right.
	Unchanged int
}

// Next returns the plan that brings the bundle's deployments to its targets.
// All clusters move at once.
func Next(w World) Plan {
	var plan Plan
	for _, t := range w.Targets {
		switch reason, message := held(w.Bundle, t); {
		case reason != "":
			plan.Hold = append(plan.Hold, Step{Target: t, Reason: reason, Message: message})
		case t.Existing == nil:
			plan.Create = append(plan.Create, Step{Target: t, Reason: ReasonMissing, Deployment: desired(w.Bundle, t)})
		default:
			plan.change(w.Bundle, t)
		}
	}
	return plan
}

// held says why nothing may be written for the target now.
func held(b *fleet.Bundle, t Target) (Reason, string) {
	switch {
	case t.Cluster.DeletionTimestamp != nil:
		return ReasonClusterLeaving, "the cluster is being deleted"
	case t.Cluster.Status.Namespace == "":
		return ReasonClusterNotReady, "the cluster's namespace is not there yet"
	case t.Existing != nil && !owns(b, t.Existing):
		return ReasonNameConflict, "bundle " + t.Existing.Labels[names.LabelBundleNamespace] + "/" +
			t.Existing.Labels[names.LabelBundleName] + " already has a deployment of this name on the cluster: rename one of the bundles"
	case t.Existing != nil && t.Existing.DeletionTimestamp != nil:
		return ReasonRemoving, "the former deployment is still being removed"
	case t.Problem != "":
		return ReasonInvalidOptions, t.Problem
	}
	return "", ""
}

// owns says whether the deployment is one of the bundle's.
func owns(b *fleet.Bundle, bd *fleet.BundleDeployment) bool {
	return bd.Labels[names.LabelBundleName] == b.Name && bd.Labels[names.LabelBundleNamespace] == b.Namespace
}

func (p *Plan) change(b *fleet.Bundle, t Target) {
	want := desired(b, t)
	have := t.Existing
	switch {
	case have.Spec.StagedDeploymentID != want.Spec.StagedDeploymentID || have.Spec.DeploymentID != want.Spec.DeploymentID:
		p.Update = append(p.Update, Step{Target: t, Reason: ReasonChanged, Deployment: want})
	case !equality.Semantic.DeepEqual(have.Spec, want.Spec) ||
		!maps.Equal(have.Labels, want.Labels) || !slices.Equal(have.Finalizers, want.Finalizers):
		p.Update = append(p.Update, Step{Target: t, Reason: ReasonSettings, Deployment: want})
	default:
		p.Unchanged++
	}
}

// desired returns the deployment as it should be.
func desired(b *fleet.Bundle, t Target) *fleet.BundleDeployment {
	bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
		Name:      b.Name,
		Namespace: names.ClusterNamespace(t.Cluster.Namespace, t.Cluster.Name),
	}}
	if t.Existing != nil {
		bd = t.Existing.DeepCopy()
	}
	bd.Labels = labelsFor(b, t)
	announceFinalizer(bd, t.Cluster)
	spec := &bd.Spec
	spec.Paused = b.Spec.Paused || t.Cluster.Spec.Paused
	spec.StagedOptions, spec.StagedDeploymentID = t.Options, t.DeploymentID
	if !spec.Paused {
		spec.Options, spec.DeploymentID = t.Options, t.DeploymentID
		spec.ValuesHash = t.ValuesHash
	}
	spec.DependsOn = b.Spec.DependsOn
	spec.CorrectDrift = t.Options.CorrectDrift
	return bd
}

// announceFinalizer adds our finalizer once the cluster has an agent that can
// confirm a removal. A cluster without one keeps nobody waiting.
func announceFinalizer(bd *fleet.BundleDeployment, c *fleet.Cluster) {
	if AgentAnnounced(c) && !slices.Contains(bd.Finalizers, names.FinalizerDeployment) {
		bd.Finalizers = append(slices.Clone(bd.Finalizers), names.FinalizerDeployment)
	}
}

// AgentAnnounced says whether an agent has reported for the cluster.
func AgentAnnounced(c *fleet.Cluster) bool { return !c.Status.Agent.LastSeen.IsZero() }

// labelsFor returns the labels of the target's deployment. The commit is that
// of the bundle's last change, so it moves only when the deployment does.
func labelsFor(b *fleet.Bundle, t Target) map[string]string {
	labels := maps.Clone(b.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[names.LabelBundleName] = b.Name
	labels[names.LabelBundleNamespace] = b.Namespace
	labels[names.LabelCluster] = t.Cluster.Name
	labels[names.LabelClusterNamespace] = t.Cluster.Namespace
	labels[names.LabelManaged] = "true"
	return labels
}
