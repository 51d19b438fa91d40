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
	return []string{"events", "endpoints", "endpointslices", "replicasets", "pods", "controllerrevisions", "componentstatuses", "apiservices"}
}

// without returns what is there now and was not before, and is no consequence of a namespace that is.
func (i inventory) without(before inventory) []string {
	return slices.DeleteFunc(slices.Clone(i), func(object string) bool {
		return slices.Contains(before, object) ||
			strings.HasSuffix(object, "/kube-root-ca.crt") || strings.HasPrefix(object, "serviceaccounts ") && strings.HasSuffix(object, "/default")
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
	took := s.joinLine(t, strings.Replace(s.guide.script(t, "A cluster, by itself", "flotilla join"), "--wait", "--replace --wait", 1))
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

// leftovers fails for what is neither a workload, nor what users made, nor named in docs/install.md.
func (s *story) leftovers(t *testing.T) {
	t.Helper()
	workload := []string{"namespaces /web", "deployments web/web", "secrets web/sh.helm.release.v1."}
	s.left(t, s.edge, append(workload,
		"namespaces /cattle-fleet-system",
		"secrets cattle-fleet-system/fleet-agent", "secrets cattle-fleet-system/fleet-agent-registration",
	)...)
	s.left(t, s.hub, append(workload,
		"customresourcedefinitions /",
		"namespaces /fleet-", "namespaces /cluster-fleet-", "namespaces /cattle-fleet-",
	)...)
}
