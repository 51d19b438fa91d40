package copies

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var app, other = Owner{"agents", "app"}, Owner{"agents", "other"}

// made returns the object that providing a copy for the owners makes.
func made(t *testing.T, c Copy, owners ...Owner) Object {
	t.Helper()
	var o Object
	for _, owner := range owners {
		_, next, err := Terms{Namespace: "web", Owner: owner}.Provide(o, &c)
		if err != nil {
			t.Fatal(err)
		}
		o = next
	}
	return o
}

func TestProvide(t *testing.T) {
	yes := true
	theirs := Object{Secret: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"a": []byte("b")}}}
	elsewhere := secretCopy("x")
	elsewhere.Namespace = "other-ws"
	edit := func(o Object, edit func(*corev1.Secret)) Object { edit(o.Secret); return o }
	for name, tt := range map[string]struct {
		live  Object
		copy  Copy
		owner Owner
		take  bool
		want  Change
		err   string
	}{
		"nothing is there":              {copy: secretCopy("x"), owner: app, want: Create},
		"it is as it should be":         {live: made(t, secretCopy("x"), app), copy: secretCopy("x"), owner: app, want: Nothing},
		"another deployment's, too":     {live: made(t, secretCopy("x"), app), copy: secretCopy("x"), owner: other, want: Update},
		"it holds something else":       {live: made(t, secretCopy("y"), app), copy: secretCopy("x"), owner: app, want: Update},
		"a mark was taken off":          {live: edit(made(t, secretCopy("x"), app), func(s *corev1.Secret) { delete(s.Labels, names.LabelBundleDeployment) }), copy: secretCopy("x"), owner: app, want: Update},
		"somebody's label is on it":     {live: edit(made(t, secretCopy("x"), app), func(s *corev1.Secret) { s.Labels["their"] = "label" }), copy: secretCopy("x"), owner: app, want: Nothing},
		"another type":                  {live: edit(made(t, secretCopy("x"), app), func(s *corev1.Secret) { s.Type = corev1.SecretTypeTLS }), copy: secretCopy("x"), owner: app, want: Recreate},
		"immutable and different":       {live: edit(made(t, secretCopy("y"), app), func(s *corev1.Secret) { s.Immutable = &yes }), copy: secretCopy("x"), owner: app, want: Recreate},
		"immutable and the same":        {live: edit(made(t, secretCopy("x"), app), func(s *corev1.Secret) { s.Immutable = &yes }), copy: secretCopy("x"), owner: app, want: Nothing},
		"nobody's copy":                 {live: theirs, copy: secretCopy("x"), owner: app, err: "there is one already that is no copy"},
		"nobody's copy, to be taken":    {live: theirs, copy: secretCopy("x"), owner: app, take: true, want: Update},
		"another agent's":               {live: made(t, secretCopy("x"), Owner{"others", "app"}), copy: secretCopy("x"), owner: app, take: true, err: "the agent of namespace others"},
		"of another source":             {live: made(t, secretCopy("x"), app), copy: elsewhere, owner: other, take: true, err: "it is a copy of ws/pull, for app"},
		"of another source, its own":    {live: made(t, secretCopy("x"), app), copy: elsewhere, owner: app, want: Update},
		"our label was taken off":       {live: edit(made(t, secretCopy("x"), app), func(s *corev1.Secret) { delete(s.Labels, names.LabelCopiedBy) }), copy: secretCopy("x"), owner: app, want: Update},
		"another's label was taken off": {live: edit(made(t, secretCopy("x"), other), func(s *corev1.Secret) { delete(s.Labels, names.LabelCopiedBy) }), copy: secretCopy("x"), owner: app, err: "there is one already that is no copy"},
		"it is being deleted":           {live: edit(made(t, secretCopy("x"), app), func(s *corev1.Secret) { s.DeletionTimestamp = &metav1.Time{} }), copy: secretCopy("x"), owner: app, err: "it is being deleted"},
		"config map, nothing there":     {copy: mapCopy(), owner: app, want: Create},
		"config map, as it should be":   {live: made(t, mapCopy(), app), copy: mapCopy(), owner: app, want: Nothing},
		"config map, immutable": {live: func() Object {
			o := made(t, mapCopy(), app)
			o.ConfigMap.Immutable, o.ConfigMap.Data = &yes, nil
			return o
		}(), copy: mapCopy(), owner: app, want: Recreate},
	} {
		before := fmt.Sprint(tt.live)
		change, wanted, err := Terms{Namespace: "web", Owner: tt.owner, Take: tt.take}.Provide(tt.live, &tt.copy)
		if change != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, %v; want %v, %q", name, change, err, tt.want, tt.err)
			continue
		}
		if fmt.Sprint(tt.live) != before {
			t.Errorf("%s: what is there was changed", name)
		}
		if err != nil {
			continue
		}
		// What was provided is as it should be.
		if again, _, err := (Terms{Namespace: "web", Owner: tt.owner}).Provide(wanted, &tt.copy); again != Nothing || err != nil {
			t.Errorf("%s: once more: %v, %v", name, again, err)
		}
	}
}

func TestWithdraw(t *testing.T) {
	both := made(t, secretCopy("x"), app, other)
	change, left := Withdraw(both, app, false)
	if change != Update || fmt.Sprint(Owners(left.Meta(), "agents")) != "[other]" || left.Secret.Labels[names.LabelBundleDeployment] != "other" {
		t.Errorf("got %v, %v", change, left.Secret)
	}
	if fmt.Sprint(Owners(both.Meta(), "agents")) != "[app other]" {
		t.Error("what is there was changed")
	}
	if change, _ := Withdraw(left, other, false); change != Delete {
		t.Errorf("the last one: %v", change)
	}
	change, kept := Withdraw(left, other, true)
	if change != Update || len(kept.Secret.Labels)+len(kept.Secret.Annotations) != 0 || string(kept.Secret.Data["password"]) != "x" {
		t.Errorf("to be kept: %v, %+v", change, kept.Secret)
	}
	for name, o := range map[string]Object{
		"nothing": {}, "what it never had": left, "another agent's": made(t, secretCopy("x"), Owner{"others", "app"}),
		"nobody's copy": {ConfigMap: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{app.mark(): ""}}}},
	} {
		if change, _ := Withdraw(o, app, false); change != Nothing {
			t.Errorf("%s: %v", name, change)
		}
	}
}

// Names of deployments may be longer than what marks have room for.
func TestMarksOfLongNames(t *testing.T) {
	long := Owner{"agents", strings.Repeat("deployment.", 20) + "a"}
	o := made(t, secretCopy("x"), long, app)
	for key := range o.Meta().GetAnnotations() {
		if _, name, _ := strings.Cut(key, "/"); len(name) > 63 {
			t.Errorf("%s is no annotation", key)
		}
	}
	if change, left := Withdraw(o, long, false); change != Update || fmt.Sprint(Owners(left.Meta(), "agents")) != "[app]" {
		t.Errorf("got %v, %v", change, left)
	}
}

// Two deployments that are at different points of a roll-out want the same copy to hold different things. Each of them looks at it
// whenever the other one writes.
func TestRestoringLeavesWhatAnotherDeploymentGot(t *testing.T) {
	before, after := secretCopy("before"), secretCopy("after")
	provide := func(live Object, c *Copy, owner Owner, restore bool) (Change, Object) {
		t.Helper()
		change, wanted, err := Terms{Namespace: "web", Owner: owner, Restore: restore}.Provide(live, c)
		if err != nil {
			t.Fatal(err)
		}
		return change, wanted
	}
	change, now := provide(made(t, before, app, other), &after, app, false)
	if change != Update {
		t.Fatalf("rolled out: %v", change)
	}
	if change, _ := provide(now, &before, other, true); change != Nothing {
		t.Errorf("the one that has not come to it yet: %v", change)
	}
	// What somebody else wrote is nobody's wish, and taken back by the one that was deployed last.
	edited := now.copy()
	edited.Secret.Data["password"] = []byte("theirs")
	if change, _ := provide(edited, &before, other, true); change != Nothing {
		t.Errorf("edited, the one that has not come to it yet: %v", change)
	}
	change, restored := provide(edited, &after, app, true)
	if change != Update || string(restored.Secret.Data["password"]) != "after" {
		t.Errorf("edited: %v", change)
	}
	// It was deployed with something that is not wanted any more, and failed: nobody else wants that.
	change, back := provide(now, &before, app, true)
	if change != Update || string(back.Secret.Data["password"]) != "before" {
		t.Errorf("taken back: %v", change)
	}
	if change, _ := provide(back, &before, other, true); change != Nothing {
		t.Errorf("then both want the same: %v", change)
	}
	// One that has not left its mark yet does, and the only one has nobody to give way to.
	if change, _ := provide(now, &before, Owner{"agents", "third"}, true); change != Update {
		t.Errorf("the third: %v", change)
	}
	if change, _ := provide(made(t, after, app), &before, app, true); change != Update {
		t.Errorf("alone: %v", change)
	}
}
