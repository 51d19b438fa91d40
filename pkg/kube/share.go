package kube

import (
	"unique"

	"k8s.io/apimachinery/pkg/api/equality"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// share lets the many deployments of a hub hold one copy of what they have in
// common: the texts that repeat from deployment to deployment, and options
// that are both staged and current. Decoded by themselves, each has its own.
func share(obj any) {
	bd, ok := obj.(*fleet.BundleDeployment)
	if !ok {
		return
	}
	shareText(&bd.Kind, &bd.APIVersion, &bd.Namespace, &bd.Name)
	for key, value := range bd.Labels {
		bd.Labels[text(key)] = text(value)
	}
	for key, value := range bd.Annotations {
		bd.Annotations[text(key)] = text(value)
	}
	for i := range bd.Finalizers {
		shareText(&bd.Finalizers[i])
	}
	spec, status := &bd.Spec, &bd.Status
	shareText(&spec.DeploymentID, &spec.StagedDeploymentID, &spec.ValuesHash,
		&status.AppliedDeploymentID, &status.Release, &status.Display.Deployed, &status.Display.Monitored, &status.Display.State)
	if equality.Semantic.DeepEqual(spec.Options, spec.StagedOptions) {
		spec.Options = spec.StagedOptions
	}
	for i := range status.Conditions {
		c := &status.Conditions[i]
		shareText(&c.Type, &c.Reason, &c.Message)
	}
	for i := range status.Resources {
		r := &status.Resources[i]
		shareText(&r.Kind, &r.APIVersion, &r.Namespace, &r.Name)
	}
}

func shareText(texts ...*string) {
	for _, t := range texts {
		*t = text(*t)
	}
}

// text returns the one copy of s. It lives for as long as somebody holds it.
func text(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(s).Value()
}
