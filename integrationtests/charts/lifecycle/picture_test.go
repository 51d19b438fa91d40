package lifecycle

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

// picture is every object of a cluster, by what it is called.
type picture map[string]types.UID

// take lists all there is, but for what comes and goes by itself.
func take(t *testing.T, env *harness.Environment) picture {
	t.Helper()
	client, err := metadata.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := env.Kubernetes.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	all := picture{}
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || slices.Contains([]string{"Event", "Lease", "ComponentStatus", "APIService"}, resource.Kind) {
				continue
			}
			objects, err := client.Resource(group.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("listing %s: %v", resource.Name, err)
			}
			for _, object := range objects.Items {
				all[strings.TrimSpace(fmt.Sprintf("%s %s/%s", resource.Kind, object.Namespace, object.Name))] = object.UID
			}
		}
	}
	return all
}

// more returns what is in the picture and was not in an earlier one.
func (p picture) more(before picture) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p)), func(name string) bool { return before[name] == p[name] })
}

// left is something that stays when all charts are uninstalled: what it is, and how docs/install.md says so.
type left struct{ what, says string }

// leftovers is all that may stay.
func leftovers() []left {
	return []left{
		{`CustomResourceDefinition /.*\.fleet\.cattle\.io`, "definitions"},
		{`Namespace /(cattle-fleet-system|cattle-fleet-clusters-system)`, "`cattle-fleet-clusters-system`"},
		{`Namespace /fleet-(default|local)`, "workspaces"},
		{`(GitRepo|Bundle|Cluster|ClusterRegistrationToken|Content|BundleDeployment) .*`, "GitRepos, Clusters"},
		{`Namespace /cluster-fleet-default-.*`, "namespaces of clusters"},
		{`(ServiceAccount|RoleBinding|ConfigMap) cluster-fleet-default-.*`, "namespaces of clusters"},
		{`(Role|RoleBinding|ServiceAccount) fleet-default/.*`, "roles"},
		{`ClusterRole /fleet-(bundle-deployment|content)`, "`fleet-bundle-deployment`"},
		{`ClusterRoleBinding /fleet-content-cluster-fleet-default-.*`, "roles"},
		{`ValidatingAdmissionPolicy(Binding)? /flotilla-(agents|agent-reports|registrations)`, "`flotilla-agent-reports`"},
		{`Secret fleet-default/join`, "join tokens"},
		// What Kubernetes makes for itself.
		{`(ServiceAccount [^/]*/default|ConfigMap [^/]*/kube-root-ca.crt|ServiceAccount kube-system/.*)`, ""},
		// The user's.
		{`(Deployment|ReplicaSet|Pod|ConfigMap) default/shop.*`, ""},
	}
}

// unexplained returns what stays and is not to.
func unexplained(objects []string) []string {
	for _, l := range leftovers() {
		objects = slices.DeleteFunc(objects, l.matches)
	}
	return objects
}

func (l left) matches(object string) bool {
	return regexp.MustCompile("^(" + l.what + ")$").MatchString(object)
}

// documented fails where docs/install.md does not name what stays, or names what does not.
func documented(t *testing.T, objects []string) {
	t.Helper()
	dir, err := charts.Dir(charts.Manager)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "..", "..", "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, uninstall, found := strings.Cut(string(text), "## Uninstall")
	if !found {
		t.Fatal("docs/install.md says nothing of uninstalling")
	}
	for _, l := range leftovers() {
		switch {
		case l.says == "":
		case !strings.Contains(uninstall, l.says):
			t.Errorf("docs/install.md does not name %s: %q", l.what, l.says)
		case !slices.ContainsFunc(objects, l.matches):
			t.Errorf("nothing of %s is left: docs/install.md should not name it", l.what)
		}
	}
}
