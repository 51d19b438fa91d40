package removals

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// where maps bundles to the clusters that they are on.
type where map[string][]string

// want is a complete picture of a workspace and its clusters. What it does not
// name must not be there.
type want struct {
	// runs says where each bundle runs. A bundle without clusters is there, and runs nowhere.
	runs where
	// removing says whose agents have yet to remove it: the deployment is marked and counts no more, the workload is there.
	removing where
	// left are workloads that stay although no deployment asks for them, with their releases; kept are such without.
	left, kept where
	// gone are clusters that are not on the hub any more.
	gone []string
	// troubled are the bundles and GitRepos that are not Ready, such as "bundle web".
	troubled []string
}

// await waits until everything is as wanted, statuses included.
func (w *world) await(want want) {
	w.t.Helper()
	expected := w.lines(want)
	var missing []string
	err := poll(w.t.Context(), func(ctx context.Context) error {
		seen, err := w.observe(ctx)
		if err != nil {
			return err
		}
		missing = difference(expected, seen)
		if len(missing) > 0 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		w.t.Fatalf("waiting for the workspace to be as wanted: %v\n%s", err, strings.Join(missing, "\n"))
	}
}

// awaitRuns waits until the bundles run where they should and nothing else is
// there.
func (w *world) awaitRuns(runs where) {
	w.t.Helper()
	w.await(want{runs: runs})
}

func difference(want, seen []string) []string {
	var lines []string
	for _, line := range want {
		if !slices.Contains(seen, line) {
			lines = append(lines, "  missing: "+line)
		}
	}
	for _, line := range seen {
		if !slices.Contains(want, line) {
			lines = append(lines, "  too much: "+line)
		}
	}
	return lines
}

// lines writes a wanted picture in the form of observe.
func (w *world) lines(want want) []string {
	var lines []string
	on := map[string]int{}
	for bundle, clusters := range want.runs {
		for _, cluster := range clusters {
			on[cluster]++
			lines = append(lines, fmt.Sprintf("%s: deployment of %s", cluster, bundle))
		}
		removing := want.removing[bundle]
		lines = append(lines, fmt.Sprintf("bundle %s: %d of %d ready, %s", bundle, len(clusters), len(clusters), w.removingText(removing)))
	}
	for bundle, clusters := range want.removing {
		for _, cluster := range clusters {
			lines = append(lines, fmt.Sprintf("%s: deployment of %s, marked", cluster, bundle))
		}
	}
	lines = append(lines, w.workloads(want)...)
	for _, cluster := range w.names() {
		if !slices.Contains(want.gone, cluster) {
			lines = append(lines, fmt.Sprintf("%s: %d of %d ready", cluster, on[cluster], on[cluster]))
		}
	}
	for _, what := range want.troubled {
		lines = append(lines, what+" is not Ready")
	}
	return lines
}

// workloads writes what is wanted downstream.
func (w *world) workloads(want want) []string {
	var lines []string
	for _, there := range []where{want.runs, want.removing, want.left, want.kept} {
		for bundle, clusters := range there {
			for _, cluster := range clusters {
				for _, name := range w.objectsOf(bundle) {
					lines = append(lines, fmt.Sprintf("%s: object %s", cluster, name))
				}
			}
		}
	}
	for _, there := range []where{want.runs, want.removing, want.left} {
		for bundle, clusters := range there {
			for _, cluster := range clusters {
				lines = append(lines, fmt.Sprintf("%s: release %s", cluster, bundle))
			}
		}
	}
	return lines
}

func (w *world) objectsOf(bundle string) []string {
	if names, ok := w.objects[bundle]; ok {
		return names
	}
	return []string{bundle}
}

func (w *world) removingText(clusters []string) string {
	if len(clusters) == 0 {
		return "removing nothing"
	}
	qualified := make([]string, 0, len(clusters))
	for _, name := range clusters {
		qualified = append(qualified, w.members[name].key.String())
	}
	slices.Sort(qualified)
	return fmt.Sprintf("removing from %s", strings.Join(qualified, ", "))
}

// observe describes what there is, one line for each thing.
func (w *world) observe(ctx context.Context) ([]string, error) {
	lines, err := w.observeWorkspace(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range w.names() {
		m := w.members[name]
		on, err := m.observe(ctx, w.workspace)
		if err != nil {
			return nil, err
		}
		lines = append(lines, on...)
	}
	return lines, nil
}

// observeWorkspace describes the bundles, and holds the GitRepos to them.
func (w *world) observeWorkspace(ctx context.Context) ([]string, error) {
	bundles, err := hub.Bundles.List(ctx, w.workspace, nil)
	if err != nil {
		return nil, err
	}
	var lines []string
	ofRepo := map[string]int{}
	for i := range bundles.Items {
		b := &bundles.Items[i]
		line := fmt.Sprintf("bundle %s: %d of %d ready, %s", b.Name, b.Status.Summary.Ready, b.Status.Summary.DesiredReady, removingOf(b.Status.Conditions))
		if b.DeletionTimestamp != nil {
			line += ", marked"
		}
		lines = append(lines, line)
		if !status.IsTrue(b.Status.Conditions, fleet.ConditionReady) {
			lines = append(lines, fmt.Sprintf("bundle %s is not Ready", b.Name))
		}
		ofRepo[b.Labels[names.LabelRepoName]] += b.Status.Summary.DesiredReady
	}
	repos, err := hub.GitRepos.List(ctx, w.workspace, nil)
	if err != nil {
		return nil, err
	}
	for i := range repos.Items {
		gr := &repos.Items[i]
		s := gr.Status.Summary
		if all := ofRepo[gr.Name]; s.Ready != all || s.DesiredReady != all {
			lines = append(lines, fmt.Sprintf("gitrepo %s: %d of %d ready, but its bundles want %d", gr.Name, s.Ready, s.DesiredReady, all))
		}
		if !status.IsTrue(gr.Status.Conditions, fleet.ConditionReady) {
			lines = append(lines, fmt.Sprintf("gitrepo %s is not Ready", gr.Name))
		}
	}
	return lines, nil
}

func removingOf(conditions []fleet.Condition) string {
	c := status.Get(conditions, fleet.ConditionRemoving)
	if c == nil || c.Status != metav1.ConditionTrue {
		return "removing nothing"
	}
	_, clusters, _ := strings.Cut(c.Message, ": ")
	listed := strings.Split(clusters, ", ")
	slices.Sort(listed)
	return "removing from " + strings.Join(listed, ", ")
}

// observe describes what a cluster has: on the hub, and downstream in the
// namespace of the workloads.
func (m *member) observe(ctx context.Context, target string) ([]string, error) {
	var lines []string
	cluster, err := hub.Clusters.Get(ctx, m.key.Namespace, m.key.Name)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return nil, err
	default:
		lines = append(lines, fmt.Sprintf("%s: %d of %d ready", m.key.Name, cluster.Status.Summary.Ready, cluster.Status.Summary.DesiredReady))
	}
	deployments, err := hub.BundleDeployments.List(ctx, names.ClusterNamespace(m.key.Namespace, m.key.Name), nil)
	if err != nil {
		return nil, err
	}
	for _, bd := range deployments.Items {
		line := fmt.Sprintf("%s: deployment of %s", m.key.Name, bd.Name)
		if bd.DeletionTimestamp != nil {
			line += ", marked"
		}
		lines = append(lines, line)
	}
	objects, err := m.objects(ctx, target)
	if err != nil {
		return nil, err
	}
	for _, cm := range objects {
		lines = append(lines, fmt.Sprintf("%s: object %s", m.key.Name, cm.Name))
	}
	records, err := m.records(ctx, target)
	if err != nil {
		return nil, err
	}
	releases := map[string]bool{}
	for _, r := range records {
		releases[r.Labels["name"]] = true
	}
	for name := range releases {
		lines = append(lines, fmt.Sprintf("%s: release %s", m.key.Name, name))
	}
	return lines, nil
}

// objects returns the ConfigMaps of a namespace downstream, but for those of
// Kubernetes.
func (m *member) objects(ctx context.Context, namespace string) ([]corev1.ConfigMap, error) {
	list, err := m.downstream.Kubernetes.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(cm corev1.ConfigMap) bool { return cm.Name == "kube-root-ca.crt" }), nil
}

// records returns Helm's records in a namespace downstream.
func (m *member) records(ctx context.Context, namespace string) ([]corev1.Secret, error) {
	list, err := m.downstream.Kubernetes.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// trace is what shows whether a workload was touched: the identities and
// versions of its objects, and the identities of its release's records.
type trace []string

// trace returns the trace of a bundle on a cluster; it fails the test if there
// is none.
func (w *world) trace(cluster, bundle string) trace {
	w.t.Helper()
	m := w.members[cluster]
	var found trace
	objects, err := m.objects(w.t.Context(), w.workspace)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, cm := range objects {
		if slices.Contains(w.objectsOf(bundle), cm.Name) {
			found = append(found, fmt.Sprintf("object %s %s version %s", cm.Name, cm.UID, cm.ResourceVersion))
		}
	}
	records, err := m.records(w.t.Context(), w.workspace)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		if r.Labels["name"] == bundle {
			found = append(found, fmt.Sprintf("revision %s %s", r.Labels["version"], r.UID))
		}
	}
	if len(found) == 0 {
		w.t.Fatalf("there is nothing of %s on %s", bundle, cluster)
	}
	return found
}

// traces returns the traces of bundles wherever they are.
func (w *world) traces(there where) map[string]trace {
	w.t.Helper()
	all := map[string]trace{}
	for bundle, clusters := range there {
		for _, cluster := range clusters {
			all[cluster+"/"+bundle] = w.trace(cluster, bundle)
		}
	}
	return all
}

// untouched fails the test if one of the workloads was changed or made anew.
func (w *world) untouched(before map[string]trace) {
	w.t.Helper()
	for at, was := range before {
		cluster, bundle, _ := strings.Cut(at, "/")
		if now := w.trace(cluster, bundle); !slices.Equal(was, now) {
			w.t.Errorf("%s on %s is not what it was:\n  %s\nnow\n  %s", bundle, cluster, strings.Join(was, "\n  "), strings.Join(now, "\n  "))
		}
	}
}

// poll calls try until it succeeds, less often than the harness does: one look
// at a world is a dozen requests.
func poll(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// on lists clusters.
func on(clusters ...string) []string { return clusters }
