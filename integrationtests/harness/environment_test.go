package harness

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

var env *Environment

func TestMain(m *testing.M) {
	os.Exit(Run(m, Options{}, func(e *Environment) { env = e }))
}

func newGitRepo(namespace string) *fleet.GitRepo {
	repo := &fleet.GitRepo{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sample"}}
	repo.Spec.Repo = "https://git.example.com/sample"
	return repo
}

func TestObjectsAreMadeEditedAwaitedAndRemoved(t *testing.T) {
	workspace := env.Workspace(t)
	key := KeyOf(env.GitRepos.Make(t, newGitRepo(workspace)))

	env.GitRepos.Edit(t, key, func(r *fleet.GitRepo) { r.Spec.Paths = []string{"apps"} })
	got := env.GitRepos.Await(t, key, func(r *fleet.GitRepo) error {
		if len(r.Spec.Paths) != 1 || r.Generation != 2 {
			return fmt.Errorf("paths %q, generation %d", r.Spec.Paths, r.Generation)
		}
		return nil
	})
	if got.Spec.Paths[0] != "apps" {
		t.Errorf("got paths %q, want apps", got.Spec.Paths)
	}

	want := fleet.Condition{Type: "Ready", Status: "True", ObservedGeneration: 2}
	env.GitRepos.EditStatus(t, key, func(r *fleet.GitRepo) { r.Status.Conditions = []fleet.Condition{want} })
	env.GitRepos.AwaitReady(t, key)

	env.GitRepos.Remove(t, key)
	env.GitRepos.AwaitGone(t, key)
	if list := env.GitRepos.All(t, workspace, nil); len(list.Items) != 0 {
		t.Errorf("%d GitRepos are left", len(list.Items))
	}
}

func TestWorkspacesAreDiscardedWithWhatHoldsThem(t *testing.T) {
	var workspace string
	t.Run("a test leaves an object with a finalizer", func(t *testing.T) {
		workspace = env.Workspace(t)
		repo := newGitRepo(workspace)
		repo.Finalizers = []string{"example.com/nobody-takes-this-off"}
		env.GitRepos.Make(t, repo)
	})
	if list := env.GitRepos.All(t, workspace, nil); len(list.Items) != 0 {
		t.Errorf("%d GitRepos are left", len(list.Items))
	}
	env.Namespaces.AwaitGone(t, KeyOf(&metav1.ObjectMeta{Name: workspace}))
}

func TestTheAPIServerValidates(t *testing.T) {
	repo := newGitRepo(env.Workspace(t))
	repo.Spec.Repo = ""
	if _, err := env.GitRepos.Create(t.Context(), repo); err == nil {
		t.Error("a GitRepo without a repository was accepted")
	}
}

func TestDescribeShowsConditionsAndEvents(t *testing.T) {
	key := KeyOf(env.GitRepos.Make(t, newGitRepo(env.Workspace(t))))
	env.GitRepos.EditStatus(t, key, func(r *fleet.GitRepo) {
		r.Status.Conditions = []fleet.Condition{{Type: "Stalled", Status: "True", Reason: "RefNotFound", Message: "no such branch"}}
	})
	repo := env.GitRepos.Await(t, key, func(r *fleet.GitRepo) error {
		if len(r.Status.Conditions) == 0 {
			return errors.New("no conditions yet")
		}
		return nil
	})
	recordEvent(t, repo)
	got := env.GitRepos.describe(repo, true)
	for _, part := range []string{`Stalled=True reason="RefNotFound" message="no such branch"`, "event Warning Refused: because"} {
		if !strings.Contains(got, part) {
			t.Errorf("the description has no %s:%s", part, got)
		}
	}
}

func recordEvent(t *testing.T, repo *fleet.GitRepo) {
	t.Helper()
	_, err := env.Kubernetes.CoreV1().Events(repo.Namespace).Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: repo.Namespace, Name: "refused"},
		InvolvedObject: corev1.ObjectReference{Kind: "GitRepo", Namespace: repo.Namespace, Name: repo.Name, UID: repo.UID},
		Type:           corev1.EventTypeWarning, Reason: "Refused", Message: "because",
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestQuietIsWhenNobodyWrites(t *testing.T) {
	workspace := env.Workspace(t)
	before := env.AwaitQuiet(t)
	env.GitRepos.Make(t, newGitRepo(workspace))
	if more := env.AwaitQuiet(t).Since(before); more["POST gitrepos"] != 1 {
		t.Errorf("got %v, want one POST of a GitRepo", more)
	}
}
