package lifecycle

import (
	"testing"

	"github.com/sirupsen/logrus"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// helm is Helm with a kubeconfig, in the system namespace.
type helm struct {
	t      *testing.T
	config *action.Configuration
}

func newHelm(t *testing.T, env *harness.Environment) *helm {
	t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	kubeconfig, namespace := env.ControlPlane.Kubeconfig(), names.NamespaceSystem
	flags.KubeConfig, flags.Namespace = &kubeconfig, &namespace
	flags.WrapConfigFn = func(config *rest.Config) *rest.Config {
		config.QPS = -1
		return config
	}
	h := &helm{t: t, config: new(action.Configuration)}
	log := logrus.New()
	log.SetOutput(t.Output())
	log.SetLevel(logrus.WarnLevel)
	if err := h.config.Init(flags, namespace, "secret", log.Debugf); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *helm) load(name string) *chart.Chart {
	h.t.Helper()
	loaded, err := charts.Load(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return loaded
}

// install does what `helm install NAME --create-namespace` does.
func (h *helm) install(name string, values map[string]any) {
	h.t.Helper()
	install := action.NewInstall(h.config)
	install.ReleaseName, install.Namespace, install.CreateNamespace = name, names.NamespaceSystem, true
	// What an earlier release of the same name has left is taken over, as the documentation has users do it.
	install.TakeOwnership = true
	// The API server judges the objects; Helm's own look at them, by schemas that are new after each definition, takes minutes.
	install.DisableOpenAPIValidation = true
	if _, err := install.RunWithContext(h.t.Context(), h.load(name), values); err != nil {
		h.t.Fatalf("installing %s: %v", name, err)
	}
}

// upgrade does what `helm upgrade NAME` does, to a chart of a newer version.
func (h *helm) upgrade(name, version string, values map[string]any) {
	h.t.Helper()
	loaded := h.load(name)
	loaded.Metadata.Version, loaded.Metadata.AppVersion = version, version
	upgrade := action.NewUpgrade(h.config)
	upgrade.Namespace = names.NamespaceSystem
	upgrade.DisableOpenAPIValidation = true
	if _, err := upgrade.RunWithContext(h.t.Context(), name, loaded, values); err != nil {
		h.t.Fatalf("upgrading %s: %v", name, err)
	}
}

func (h *helm) uninstall(name string) {
	h.t.Helper()
	if _, err := action.NewUninstall(h.config).Run(name); err != nil {
		h.t.Fatalf("uninstalling %s: %v", name, err)
	}
}
