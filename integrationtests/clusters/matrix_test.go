package clusters

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// verbs are all that RBAC of an API server knows.
func verbs() []string {
	return []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate"}
}

// whatever stands for every name that has no meaning.
const whatever = "whatever"

// grant is one thing that an agent may do. Where is its own namespace, its workspace, or the cluster; another is any other one.
type grant struct{ where, resource, name, verb string }

func (g grant) String() string {
	return fmt.Sprintf("%-12s %-46s %-34s %s", g.where, g.resource, g.name, g.verb)
}

// allowed is everything that an agent may do on the hub. docs/security.md gives the reason for each.
func allowed() []grant {
	var all []grant
	add := func(where, resource, name string, verbs ...string) {
		for _, verb := range verbs {
			all = append(all, grant{where, resource, name, verb})
		}
	}
	add("own", "bundledeployments.fleet.cattle.io", whatever, "get", "list", "watch")
	add("own", "bundledeployments.fleet.cattle.io/status", whatever, "patch", "update")
	add("own", "secrets", whatever, "get")
	add("own", "configmaps", names.ConfigMapHub, "get")
	add("own", "namespaces", "own", "get")
	add("own", "leases.coordination.k8s.io", names.LeaseAgent, "get", "update", "patch")
	add("own", "leases.coordination.k8s.io", whatever, "create")
	add("workspace", "clusters.fleet.cattle.io", "own", "get")
	add("workspace", "clusters.fleet.cattle.io/status", "own", "patch")
	add("cluster", "contents.fleet.cattle.io", whatever, "get")
	add("cluster", "customresourcedefinitions.apiextensions.k8s.io", "bundledeployments.fleet.cattle.io", "get")
	return all
}

// Every verb on every kind and subresource that the hub serves, in the agent's namespace, its workspace, another cluster's
// namespace, that of the manager, of the system, and everywhere: what is allowed is the list above, and all else is not.
func TestWhatAgentsMayDoIsExactlyThis(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	imported(t, workspace, "mine")
	_, theirs := registered(t, workspace, "other")
	mine := names.ClusterNamespace(workspace, "mine")
	config := rest.AnonymousClientConfig(env.Config)
	config.BearerToken, config.QPS = tokenOf(t, mine), -1
	agent, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	asked := questions(t, places{own: mine, workspace: workspace, others: []string{theirs, "kube-system"}})
	t.Logf("asked %d questions", len(asked))
	var mu sync.Mutex
	var yes []grant
	ask(t, asked, func(q question) error {
		review, err := agent.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(),
			&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &q.attributes}}, metav1.CreateOptions{})
		if err == nil && review.Status.Allowed {
			mu.Lock()
			yes = append(yes, q.grant)
			mu.Unlock()
		}
		return err
	})
	compareGrants(t, yes)
}

// compareGrants prints what is allowed, and fails where it is not what should be.
func compareGrants(t *testing.T, yes []grant) {
	t.Helper()
	var got []string
	for _, g := range yes {
		if !everybody(g) && !general(g) {
			got = append(got, g.String())
		}
	}
	slices.Sort(got)
	got = slices.Compact(got)
	var want []string
	for _, g := range allowed() {
		want = append(want, g.String())
	}
	slices.Sort(want)
	t.Logf("an agent may:\n%s", strings.Join(got, "\n"))
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("an agent may also: %s", g)
		}
	}
	for _, g := range want {
		if !slices.Contains(got, g) {
			t.Errorf("an agent may not: %s", g)
		}
	}
}

// everybody says whether Kubernetes itself lets everybody who is known do it: asking what one may do, and who one is.
func everybody(g grant) bool {
	return strings.HasPrefix(g.resource, "selfsubject") && g.verb == "create"
}

// general leaves out what follows from the same grant for whatever name.
func general(g grant) bool {
	return g.name != whatever && slices.Contains(allowed(), grant{g.where, g.resource, whatever, g.verb})
}

// places are the namespaces that are asked about.
type places struct {
	own, workspace string
	others         []string
}

type question struct {
	grant
	attributes authorizationv1.ResourceAttributes
}

// questions asks for all that the hub serves.
func questions(t *testing.T, p places) []question {
	t.Helper()
	_, lists, err := env.Kubernetes.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var all []question
	seen := map[string]bool{} // Kinds are served in several versions, and rights are about none.
	for _, list := range lists {
		group, _, found := strings.Cut(list.GroupVersion, "/")
		if !found {
			group = ""
		}
		for _, resource := range list.APIResources {
			key := group + "/" + resource.Name
			if seen[key] {
				continue
			}
			seen[key] = true
			name, sub, _ := strings.Cut(resource.Name, "/")
			for _, verb := range verbs() {
				all = append(all, p.ask(authorizationv1.ResourceAttributes{Group: group, Resource: name, Subresource: sub, Verb: verb}, resource.Namespaced)...)
			}
		}
	}
	return all
}

// ask asks for one verb on one kind, everywhere and for each name that has a meaning.
func (p places) ask(a authorizationv1.ResourceAttributes, namespaced bool) []question {
	resource := a.Resource
	if a.Group != "" {
		resource += "." + a.Group
	}
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	var all []question
	add := func(where, namespace string, names map[string]string) {
		for shown, name := range names {
			a.Namespace, a.Name = namespace, name
			all = append(all, question{grant{where, resource, shown, a.Verb}, a})
		}
	}
	one := map[string]string{whatever: whatever}
	if !namespaced && a.Resource != "namespaces" {
		add("cluster", "", map[string]string{whatever: whatever, "bundledeployments.fleet.cattle.io": "bundledeployments.fleet.cattle.io", names.ClusterRoleDeployments: names.ClusterRoleDeployments})
		return all
	}
	// A Namespace is asked about as what is in it.
	if a.Resource == "namespaces" {
		add("own", p.own, map[string]string{"own": p.own})
		add("workspace", p.workspace, map[string]string{"workspace": p.workspace})
		for _, namespace := range p.others {
			add("another", namespace, map[string]string{namespace: namespace})
		}
		add("everywhere", "", one)
		return all
	}
	add("own", p.own, map[string]string{whatever: whatever, names.Agent: names.Agent, names.ConfigMapHub: names.ConfigMapHub})
	add("workspace", p.workspace, map[string]string{whatever: whatever, "own": "mine", "other": "other", names.Join: names.Join})
	for _, namespace := range p.others {
		add("another", namespace, map[string]string{whatever: whatever, names.Agent: names.Agent, names.ConfigMapHub: names.ConfigMapHub})
	}
	add("everywhere", "", one)
	return all
}

func ask(t *testing.T, all []question, f func(question) error) {
	t.Helper()
	const parallel = 32
	work := make(chan question)
	var running sync.WaitGroup
	for range parallel {
		running.Go(func() {
			for q := range work {
				if err := f(q); err != nil {
					t.Errorf("asking for %s: %v", q.grant, err)
				}
			}
		})
	}
	for _, q := range all {
		work <- q
	}
	close(work)
	running.Wait()
}

// Every kind that an agent has any right to is in the page that gives the reasons.
func TestRightsOfAgentsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## What an agent may do on the hub")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, g := range allowed() {
		kind, sub, _ := strings.Cut(g.resource, "/")
		kind, _, _ = strings.Cut(kind, ".")
		if sub != "" {
			kind += "/" + sub
		}
		documented := slices.ContainsFunc(strings.Split(section, "\n"), func(line string) bool {
			return strings.Contains(line, "`"+kind+"`") && strings.Contains(line, g.verb)
		})
		if !documented {
			t.Errorf("docs/security.md does not say that an agent may %s %s", g.verb, kind)
		}
	}
}

// What an agent reports may be wrong, but not large, and its heartbeat is one.
func TestReportsAreBounded(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key, _ := imported(t, workspace, "mine")
	mine := names.ClusterNamespace(workspace, "mine")
	deployment := env.BundleDeployments.Make(t, &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: "web"}})
	agent := agentOf(t, mine)
	report := func(ctx context.Context, edit func(*fleet.BundleDeploymentStatus)) error {
		before, err := env.BundleDeployments.Get(ctx, mine, deployment.Name)
		if err != nil {
			return err
		}
		after := before.DeepCopy()
		edit(&after.Status)
		_, err = agent.BundleDeployments.PatchStatus(ctx, before, after)
		return err
	}
	long := strings.Repeat("x", 100_000)
	refused := map[string]func(context.Context) error{
		"a long message": func(ctx context.Context) error {
			return report(ctx, func(s *fleet.BundleDeploymentStatus) {
				s.Conditions = []fleet.Condition{{Type: "Ready", Status: "True", Message: long}}
			})
		},
		"many objects": func(ctx context.Context) error {
			return report(ctx, func(s *fleet.BundleDeploymentStatus) { s.Resources = make([]fleet.BundleDeploymentResource, 2000) })
		},
		"a long name": func(ctx context.Context) error {
			return report(ctx, func(s *fleet.BundleDeploymentStatus) { s.Resources = []fleet.BundleDeploymentResource{{Name: long}} })
		},
		"a long patch": func(ctx context.Context) error {
			return report(ctx, func(s *fleet.BundleDeploymentStatus) { s.ModifiedStatus = []fleet.ModifiedStatus{{Patch: long}} })
		},
		"a long state": func(ctx context.Context) error {
			return report(ctx, func(s *fleet.BundleDeploymentStatus) { s.Display.State = long })
		},
		"a long namespace": func(ctx context.Context) error {
			return claim(ctx, agent, key, func(s *fleet.ClusterStatus) { s.Agent.Namespace = long })
		},
		"a second Lease": func(ctx context.Context) error {
			_, err := agent.Leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: "second"}})
			return err
		},
		"a large Lease": func(ctx context.Context) error {
			_, err := agent.Leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
				Namespace: mine, Name: names.LeaseAgent, Annotations: map[string]string{"a": long},
			}})
			return err
		},
	}
	// The API server heeds a policy some moments after it was made, once in the life of a hub.
	harness.Eventually(t, "the policies are heeded", func(ctx context.Context) error {
		_, err := agent.Leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: mine, GenerateName: "more-"}})
		err2 := claim(ctx, agent, key, readyForEver)
		if !apierrors.IsForbidden(err) || !apierrors.IsForbidden(err2) {
			return errors.Join(errors.New("not yet"), err, err2)
		}
		return nil
	})
	for name, try := range refused {
		if err := try(t.Context()); !apierrors.IsForbidden(err) {
			t.Errorf("%s was taken, or failed otherwise: %v", name, err)
		}
	}
	full := func(s *fleet.BundleDeploymentStatus) {
		s.Resources = make([]fleet.BundleDeploymentResource, 500)
		for i := range s.Resources {
			s.Resources[i].Name = strings.Repeat("n", 253)
		}
		s.Conditions = []fleet.Condition{{Type: "Ready", Status: "False", Message: strings.Repeat("m", 16<<10)}}
	}
	if err := report(t.Context(), full); err != nil {
		t.Errorf("the largest report of an honest agent: %v", err)
	}
}
