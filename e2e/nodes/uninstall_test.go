package nodes

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// inventory names every object of a cluster, as KIND NAMESPACE/NAME, but for those that come and go by themselves.
type inventory []string

func (c *cluster) inventory(t *testing.T) inventory {
	t.Helper()
	config, err := c.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := c.client.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	listable := discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "get"}}, kinds)
	var all inventory
	for _, group := range listable {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range group.APIResources {
			if slices.Contains(fleeting(), kind.Name) {
				continue
			}
			list, err := client.Resource(version.WithResource(kind.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, object := range list.Items {
				all = append(all, fmt.Sprintf("%s %s/%s", kind.Name, object.Namespace, object.Name))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// fleeting are kinds whose objects Kubernetes makes of others.
func fleeting() []string {
	return []string{
		"events", "endpoints", "endpointslices", "replicasets", "pods", "controllerrevisions", "componentstatuses", "apiservices",
	}
}

// without returns what is there now and was not before, and is no consequence of a namespace that is.
func (i inventory) without(before inventory) []string {
	return slices.DeleteFunc(slices.Clone(i), func(object string) bool {
		return slices.Contains(before, object) ||
			strings.HasSuffix(object, "/kube-root-ca.crt") ||
			strings.HasPrefix(object, "serviceaccounts ") && strings.HasSuffix(object, "/default")
	})
}

// left fails for every object that nobody says may stay.
func (s *story) left(t *testing.T, c *cluster, mayStay ...string) {
	t.Helper()
	for _, object := range c.inventory(t).without(s.before[c.Name()]) {
		if !slices.ContainsFunc(mayStay, func(prefix string) bool { return strings.HasPrefix(object, prefix) }) {
			t.Errorf("on %s is left what the documentation does not name: %s", c.Name(), object)
		}
	}
}

// workloads is what runs on both clusters.
func (s *story) workloads(t *testing.T) string {
	t.Helper()
	return s.running(t, s.hub) + " | " + s.running(t, s.edge)
}

func (s *story) uninstall(t *testing.T, c *cluster, which string) {
	t.Helper()
	before := s.workloads(t)
	s.shell(t, c, s.guide.script(t, "Uninstall", which))
	if after := s.workloads(t); after != before {
		t.Errorf("uninstalling touched the workloads: %s, then %s", before, after)
	}
}

const (
	uninstallHub   = "helm uninstall flotilla "
	uninstallAgent = "helm uninstall flotilla-agent "
)

func (s *story) uninstallHubFirst(t *testing.T) {
	s.uninstall(t, s.hub, uninstallHub)
	s.hub.awaitPods(t, names.NamespaceSystem, managerLabels, 0)
	// An agent without its hub goes on.
	s.edge.awaitPods(t, names.NamespaceSystem, agentLabels, 1)
	s.uninstall(t, s.edge, uninstallAgent)
	s.edge.awaitPods(t, names.NamespaceSystem, agentLabels, 0)
	s.leftovers(t)
}

// installAgain installs the hub and the agent anew: they take up what is there, and touch nothing of it.
func (s *story) installAgain(t *testing.T) {
	before := s.workloads(t)
	s.shell(t, s.hub, s.guide.script(t, "The hub", "helm upgrade --install flotilla "))
	s.awaitManagers(t)
	line := s.readme.script(t, "Install", "flotilla join") // The same as in the guide.
	took := s.joinLine(t, strings.Replace(line, "--wait", "--replace --wait", 1))
	t.Logf("the cluster is ready %s after the line was pasted once more", took)
	s.awaitCluster(t, "prod-2")
	if after := s.workloads(t); after != before {
		t.Errorf("installing anew touched the workloads: %s, then %s", before, after)
	}
	s.commit(t, "v8")(t, s.hub, s.edge)
}

func (s *story) uninstallAgentFirst(t *testing.T) {
	s.uninstall(t, s.edge, uninstallAgent)
	s.edge.awaitPods(t, names.NamespaceSystem, agentLabels, 0)
	s.uninstall(t, s.hub, uninstallHub)
	s.hub.awaitPods(t, names.NamespaceSystem, managerLabels, 0)
	s.leftovers(t)
}

// leftovers fails for what is neither a workload, nor what users made, nor named under "Uninstall" in docs/install.md.
func (s *story) leftovers(t *testing.T) {
	t.Helper()
	s.left(t, s.edge, append(workloadObjects(),
		"secrets cattle-fleet-system/fleet-agent", "secrets cattle-fleet-system/fleet-agent-registration",
		"secrets cattle-fleet-system/sh.helm.release.v1.fleet-agent-", "leases cattle-fleet-system/fleet-agent",
	)...)
	s.left(t, s.hub, slices.Concat(workloadObjects(), hubObjects(), importedAgent())...)
}

// workloadObjects are what was deployed, and the namespace that both charts were installed into, which Helm makes and keeps.
func workloadObjects() []string {
	return []string{
		"namespaces /" + webNamespace, "deployments " + webNamespace + "/web", "secrets " + webNamespace + "/sh.helm.release.v1.",
		"namespaces /cattle-fleet-system",
	}
}

func hubObjects() []string {
	objects := []string{
		"customresourcedefinitions /", "namespaces /fleet-default", "namespaces /fleet-local", "namespaces /cluster-fleet-default-",
		"namespaces /cattle-fleet-clusters-system",
		"clusterroles /fleet-bundle-deployment", "clusterroles /fleet-content", "clusterrolebindings /cluster-fleet-default-",
		"clusterrolebindings /fleet-content-", "leases cattle-fleet-system/flotilla-manager",
		"validatingadmissionpolicies /flotilla-", "validatingadmissionpolicybindings /flotilla-", "contents /",
	}
	for _, kind := range []string{"roles", "rolebindings", "serviceaccounts", "secrets", "configmaps", "leases", "bundledeployments"} {
		objects = append(objects, kind+" cluster-fleet-default-") // The namespaces of clusters are kept whole.
	}
	for _, kind := range []string{
		"gitrepos", "bundles", "clusters", "clustergroups", "clusterregistrations", "clusterregistrationtokens",
		"secrets", "roles", "rolebindings", "serviceaccounts",
	} {
		objects = append(objects, kind+" fleet-default/", kind+" fleet-local/")
	}
	return objects
}

// importedAgent is what the hub installed on a cluster that it imported, here on itself.
func importedAgent() []string {
	objects := []string{"clusterroles /cattle-fleet-system-fleet-agent", "clusterrolebindings /cattle-fleet-system-fleet-agent"}
	for _, kind := range []string{"deployments", "serviceaccounts", "secrets", "roles", "rolebindings", "leases"} {
		objects = append(objects, kind+" cattle-fleet-system/fleet-agent")
	}
	return objects
}
