package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	pkgkube "github.com/flotilla-gitops/flotilla/pkg/kube"
)

// story is something that happens to a deployment, during which the agent is
// killed.
type story struct {
	name string
	// long stories are told only where tests may take long.
	long bool
	// before is what is deployed when the story begins; nil is nothing.
	before *ask
	// during is what the agent is doing when it is killed; nil is removing the deployment.
	during *ask
	// after is what is asked for when the agent comes back; nil is what was asked for before.
	after *ask
	// want are the ConfigMaps that are there in the end, with their values; nil means that the deployment is removed.
	want map[string]string
}

func files(pairs ...string) *ask {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]+".yaml"] = configMapYAML(pairs[i], pairs[i+1])
	}
	a := manifest(all)
	return &a
}

func renamed(a *ask) *ask {
	b := a.with(func(bd *fleet.BundleDeployment) { bd.Spec.Options.Helm = &fleet.HelmOptions{ReleaseName: "renamed"} })
	return &b
}

func stories() []story {
	return []story{
		{name: "install", during: files("a", "1", "b", "1"), want: map[string]string{"a": "1", "b": "1"}},
		{
			name: "install, and then something else is wanted", long: true, during: files("a", "1", "b", "1"),
			after: files("a", "2", "c", "2"), want: map[string]string{"a": "2", "c": "2"},
		},
		{
			name: "upgrade", long: true, before: files("a", "1", "b", "1"), during: files("a", "2", "c", "2"),
			want: map[string]string{"a": "2", "c": "2"},
		},
		{
			name: "upgrade, and then something else is wanted", before: files("a", "1", "b", "1"), during: files("a", "2", "c", "2"),
			after: files("a", "3", "d", "3"), want: map[string]string{"a": "3", "d": "3"},
		},
		{
			name: "upgrade, and then what was there before is wanted", long: true, before: files("a", "1", "b", "1"), during: files("a", "2", "c", "2"),
			after: files("a", "1", "b", "1"), want: map[string]string{"a": "1", "b": "1"},
		},
		{
			name: "rename", long: true, before: files("a", "1", "b", "1"), during: renamed(files("a", "2", "c", "2")),
			want: map[string]string{"a": "2", "c": "2"},
		},
		{name: "removal", before: files("a", "1", "b", "1")},
	}
}

// The agent is killed after every single write that it makes to its cluster.
// Whenever that is, the agent that comes after it brings things to the same
// end as if nothing had happened.
func TestAgentKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if s.long {
				harness.Long(t)
			}
			for writes := 0; ; writes++ {
				if killed := s.tell(t, writes); !killed {
					t.Logf("%s makes %d writes", s.name, writes)
					return
				}
				if writes > 40 {
					t.Fatal("the story does not end")
				}
			}
		})
	}
}

// tell plays the story with an agent that is killed after the given number of
// writes. It says whether it was killed before the story was over.
func (s story) tell(t *testing.T, writes int) (killed bool) {
	t.Helper()
	t.Run(fmt.Sprintf("killed after %d writes", writes), func(t *testing.T) {
		w := newWorld(t)
		key := pkgkube.Key{Namespace: w.namespace, Name: "app"}
		if s.before != nil {
			w.start()
			w.deploy(key.Name, *s.before)
			w.awaitReady(key)
			w.stop()
		}
		s.begin(w, key)
		cut := make(chan struct{})
		w.line.limit(writes, func() { close(cut) })
		w.start()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.awaitOver(w, key, cut)
		}()
		select {
		case <-cut:
			killed = true
		case <-done:
		}
		w.stop()
		<-done
		w.line.free()
		if s.after != nil {
			w.change(key, *s.after)
		}
		w.start()
		s.check(w, key)
	})
	return killed && !t.Failed()
}

// begin asks for what the story is about.
func (s story) begin(w *world, key pkgkube.Key) {
	switch {
	case s.during == nil:
		env.BundleDeployments.Remove(w.t, key)
	case s.before == nil:
		w.deploy(key.Name, *s.during)
	default:
		w.change(key, *s.during)
	}
}

// awaitOver returns when the agent has reported, or was cut off.
func (s story) awaitOver(w *world, key pkgkube.Key, cut <-chan struct{}) {
	_ = wait(w.t.Context(), func() bool {
		select {
		case <-cut:
			return true
		default:
		}
		bd, err := env.BundleDeployments.Get(w.t.Context(), key.Namespace, key.Name)
		if err != nil {
			return false
		}
		if s.during == nil {
			return hasRemoved(bd)
		}
		// With an earlier release to remove, the report comes before the last write.
		return bd.Status.AppliedDeploymentID == bd.Spec.DeploymentID && len(releaseNames(w.records(w.target))) == 1
	})
}

func hasRemoved(bd *fleet.BundleDeployment) bool {
	return slices.ContainsFunc(bd.Status.Conditions, func(c fleet.Condition) bool {
		return c.Type == fleet.ConditionRemoved && c.Status == metav1.ConditionTrue
	})
}

// releaseNames returns the names of the releases that have records.
func releaseNames(records []corev1.Secret) []string {
	var all []string
	for _, r := range records {
		if name := r.Labels["name"]; !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// check waits for the end of the story, and looks whether it is the right one.
func (s story) check(w *world, key pkgkube.Key) {
	w.t.Helper()
	if s.want == nil {
		w.awaitRemoved(key)
	} else {
		w.awaitReady(key)
	}
	err := wait(w.t.Context(), func() bool { return maps.Equal(w.objects(), s.want) && len(w.records(w.target)) <= 2 })
	if err != nil {
		w.t.Errorf("objects are %v, want %v; records are %v", w.objects(), s.want, describeRecords(w.records(w.target)))
	}
	if s.want == nil {
		if left := w.records(w.target); len(left) > 0 {
			w.t.Errorf("records are left: %v", describeRecords(left))
		}
		return
	}
	deployed := 0
	for _, r := range w.records(w.target) {
		if r.Labels["status"] == "deployed" {
			deployed++
		}
	}
	if deployed != 1 {
		w.t.Errorf("%d revisions are deployed: %v", deployed, describeRecords(w.records(w.target)))
	}
	// It can still be changed and removed.
	w.change(key, *files("z", "9"))
	w.awaitReady(key)
	env.BundleDeployments.Remove(w.t, key)
	w.awaitRemoved(key)
	if left := w.objects(); len(left) > 0 || len(w.records(w.target)) > 0 {
		w.t.Errorf("after the removal there are %v and %v", left, describeRecords(w.records(w.target)))
	}
}

// objects returns the ConfigMaps of the target namespace that are not
// Kubernetes' own, with their values.
func (w *world) objects() map[string]string {
	list, err := env.Kubernetes.CoreV1().ConfigMaps(w.target).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Errorf("listing ConfigMaps: %v", err)
		return nil
	}
	objects := map[string]string{}
	for _, cm := range list.Items {
		if cm.Name != "kube-root-ca.crt" {
			objects[cm.Name] = cm.Data["key"]
		}
	}
	if len(objects) == 0 {
		return nil
	}
	return objects
}

func describeRecords(records []corev1.Secret) string {
	var all []string
	for _, r := range records {
		all = append(all, fmt.Sprintf("%s v%s %s", r.Labels["name"], r.Labels["version"], r.Labels["status"]))
	}
	return strings.Join(all, ", ")
}
