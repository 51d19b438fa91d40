package report

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

// Planned says which deployments the manager makes of bundles, were their turn
// to come now and nothing there yet.
type Planned struct {
	TypeMeta
	// Items are by bundle, then by cluster.
	Items []PlannedDeployment `json:"items"`
	// Problems are what is wrong with bundles as a whole.
	Problems []string `json:"problems,omitempty"`
}

// PlannedDeployment is the answer for one bundle and one cluster.
type PlannedDeployment struct {
	// Bundle and Cluster are "namespace/name".
	Bundle  string `json:"bundle"`
	Cluster string `json:"cluster"`
	// Answer says whether the bundle is deployed to the cluster: yes, no or
	// unknown; Reason in one word and Message in one line why.
	Answer  targeting.Answer `json:"answer"`
	Reason  string           `json:"reason"`
	Message string           `json:"message"`
	// Target is the name of the target that decided.
	Target string `json:"target,omitempty"`
	// Partition is the part of the roll-out that the cluster is in.
	Partition string `json:"partition,omitempty"`
	// Deployment is what is written; nil if the answer is not yes, or if it is
	// held: Reason says what for.
	Deployment *fleet.BundleDeployment `json:"deployment,omitempty"`
	// Values is the Secret that is written before it, if it has values.
	Values *corev1.Secret `json:"values,omitempty"`
}

// reasonInvalidBundle says that the bundle cannot be encoded at all.
const reasonInvalidBundle = "InvalidBundle"

// PlannedOf says of every bundle and every cluster of the world what the
// manager would write. The world needs bundles with their values, clusters,
// groups and mappings.
func PlannedOf(w World) Planned {
	v := viewOf(w)
	p := Planned{TypeMeta: typeOf("Planned"), Items: []PlannedDeployment{}}
	for _, b := range sorted(w.Bundles) {
		for _, problem := range v.targetsOf(b, nil).Problems {
			p.Problems = append(p.Problems, fmt.Sprintf("bundle %s: %s: %s", kube.KeyOf(b), problem.Field, problem.Message))
		}
		items, problem := v.planned(b)
		if problem != "" {
			p.Problems = append(p.Problems, fmt.Sprintf("bundle %s: %s", kube.KeyOf(b), problem))
		}
		p.Items = append(p.Items, items...)
	}
	return p
}

// planned returns the answers for one bundle, and what is wrong with its
// rollout strategy, if anything.
func (v *view) planned(b *fleet.Bundle) (items []PlannedDeployment, problem string) {
	world := rollout.World{Bundle: b}
	var values [][]byte
	at := []int{} // the item of each target
	for _, c := range sorted(v.Clusters) {
		found := v.clusterTarget(b, c)
		items = append(items, PlannedDeployment{
			Bundle: kube.KeyOf(b).String(), Cluster: found.Cluster,
			Answer: found.Answer, Reason: found.Reason, Message: found.Message, Target: found.Target,
		})
		if found.Answer != targeting.AnswerYes {
			continue
		}
		target, data, err := v.target(b, c)
		if err != nil {
			last := &items[len(items)-1]
			last.Answer, last.Reason, last.Message = targeting.AnswerUnknown, reasonInvalidBundle, err.Error()
			continue
		}
		world.Targets, values, at = append(world.Targets, target), append(values, data), append(at, len(items)-1)
	}
	own := rollout.Next(world)
	for i := range world.Targets {
		items[at[i]].Partition = own.Partitions[own.PartitionOf(i, &world.Targets[i])].Name
	}
	for _, step := range everyTurn(world).steps() {
		item := &items[at[step.Index]]
		if item.Deployment = step.Deployment; item.Deployment == nil {
			item.Answer, item.Reason, item.Message = targeting.AnswerUnknown, string(step.Reason), step.Message
			continue
		}
		if data := values[step.Index]; data != nil {
			item.Values = rollout.InputsSecret(b, step.Deployment, rollout.Inputs{Values: data}, nil)
		}
	}
	return items, own.Problem
}

// target returns what the bundle is to run on a cluster that it matches, and
// the values that belong to it.
func (v *view) target(b *fleet.Bundle, c *fleet.Cluster) (rollout.Target, []byte, error) {
	content, err := bundle.Encode(b.Spec.Resources)
	if err != nil {
		return rollout.Target{}, nil, fmt.Errorf("encoding spec.resources: %w", err)
	}
	matcher := v.matcher(b, c.Namespace)
	var customizations []fleet.BundleDeploymentOptions
	for _, custom := range matcher.Match(c).Customizations {
		customizations = append(customizations, custom.BundleDeploymentOptions)
	}
	if c.Status.Namespace == "" {
		// The manager makes it before anything else.
		c = c.DeepCopy()
		c.Status.Namespace = names.ClusterNamespace(c.Namespace, c.Name)
	}
	t := rollout.Target{Cluster: c, Partition: matcher.Partition(c)}
	d, err := bundle.For(bundle.Merge(b.Spec.BundleDeploymentOptions, customizations...), content.Name, c)
	if err != nil {
		t.Problem = err.Error()
	}
	if _, wrong := copies.Refs(d.Options.DownstreamResources); len(wrong) > 0 && err == nil {
		t.Problem = wrong[0].Error()
	}
	t.Options, t.DeploymentID, t.ValuesHash = d.Options, d.ID, d.ValuesHash
	return t, d.Values, nil
}

type plan rollout.Plan

func (p plan) steps() []rollout.Step { return append(p.Create, p.Hold...) }

// everyTurn plans as if every cluster's turn had come.
func everyTurn(w rollout.World) plan {
	all, never := len(w.Targets), 0
	b := w.Bundle.DeepCopy()
	b.Spec.RolloutStrategy = &fleet.RolloutStrategy{MaxNew: &all, AutoPartitionThreshold: &never}
	w.Bundle = b
	return plan(rollout.Next(w))
}

// Yes says whether there is an answer for every bundle and cluster, and nothing
// is wrong.
func (p Planned) Yes() bool {
	for i := range p.Items {
		if p.Items[i].Answer == targeting.AnswerUnknown {
			return false
		}
	}
	return len(p.Problems) == 0
}
