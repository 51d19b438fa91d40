package render

import (
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Objects returns the objects that installing the bundle creates, those of its
// hooks and of the chart's crds/ folder included, sorted by apiVersion, kind,
// namespace and name. It works without a cluster: lookups find nothing and host
// names do not resolve. Every error is an *Error, or one of Helm's that has
// nothing to do with the bundle.
func Objects(in Input) ([]*unstructured.Unstructured, error) {
	rendered, err := Release(in)
	if err != nil {
		return nil, err
	}
	install, err := offlineInstall(in, rendered)
	if err != nil {
		return nil, err
	}
	installed, err := install.Run(rendered.Chart, rendered.Values)
	if err != nil {
		return nil, rendered.Explain(err)
	}
	objects, err := installedObjects(rendered, installed)
	if err != nil {
		return nil, err
	}
	result := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		result[i] = o.Unstructured
	}
	slices.SortStableFunc(result, byIdentity)
	return result, nil
}

// offlineInstall is the Helm action that renders a release and installs nothing.
func offlineInstall(in Input, rendered *Rendered) (*action.Install, error) {
	install := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	install.ClientOnly = true
	install.DryRun = true
	install.DryRunOption = "client"
	install.DisableOpenAPIValidation = true
	install.ReleaseName = rendered.ReleaseName
	install.Namespace = rendered.Namespace
	install.PostRenderer = rendered.PostRenderer
	install.SkipSchemaValidation = in.Options.Helm != nil && isTrue(in.Options.Helm.SkipSchemaValidation)
	install.APIVersions = chartutil.VersionSet(in.APIVersions)
	if in.KubeVersion != "" {
		version, err := chartutil.ParseKubeVersion(in.KubeVersion)
		if err != nil {
			return nil, &Error{Message: "the Kubernetes version " + in.KubeVersion + " is not a version", Err: err}
		}
		install.KubeVersion = version
	}
	return install, nil
}

// installedObjects gathers all that Helm would create.
func installedObjects(rendered *Rendered, installed *release.Release) ([]object, error) {
	objects, err := objectsOf("", []byte(installed.Manifest), lenient)
	if err != nil {
		return nil, err
	}
	for _, crd := range rendered.Chart.CRDObjects() {
		found, err := objectsOf(rendered.paths.inBundle(crd.Filename), crd.File.Data, lenient)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	for _, hook := range installed.Hooks {
		if !runsOnDeploy(hook) {
			continue
		}
		found, err := objectsOf(rendered.paths.inBundle(hook.Path), []byte(hook.Manifest), lenient)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			rendered.finish.placeHook(o)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// runsOnDeploy says whether Helm runs a hook when it installs or upgrades.
func runsOnDeploy(hook *release.Hook) bool {
	return slices.ContainsFunc(hook.Events, func(event release.HookEvent) bool {
		switch event {
		case release.HookPreInstall, release.HookPostInstall, release.HookPreUpgrade, release.HookPostUpgrade:
			return true
		default:
			return false
		}
	})
}

func byIdentity(a, b *unstructured.Unstructured) int {
	for _, c := range []int{
		strings.Compare(a.GetAPIVersion(), b.GetAPIVersion()),
		strings.Compare(a.GetKind(), b.GetKind()),
		strings.Compare(a.GetNamespace(), b.GetNamespace()),
		strings.Compare(a.GetName(), b.GetName()),
	} {
		if c != 0 {
			return c
		}
	}
	return 0
}
