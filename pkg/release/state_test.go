package release

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func testOwner() Owner {
	return Owner{Deployment: "app", UID: "uid-2", Hub: "hub", Agent: names.NamespaceSystem}
}

// recordWith returns the record of a release that is in sync, changed by edit.
func recordWith(edit func(*Record)) *Record {
	r := &Record{
		Key: Key{Namespace: "web", Name: "app"}, Revision: 3, Status: StatusDeployed, Digest: Digest("content:1"),
		Deployment: "app", UID: "uid-2", Hub: "hub", Agent: names.NamespaceSystem,
	}
	if edit != nil {
		edit(r)
	}
	return r
}

func TestAssess(t *testing.T) {
	status := func(s Status) func(*Record) { return func(r *Record) { r.Status = s } }
	for _, test := range []struct {
		name          string
		latest        *Record
		deployed      bool
		elsewhere     bool
		takeOwnership bool
		want          State
		action        Action
	}{
		{name: "nothing there", want: Absent, action: ActionInstall},
		{name: "there under another name", elsewhere: true, want: Misplaced, action: ActionMove},
		{name: "as it should be", latest: recordWith(nil), want: InSync, action: ActionNone},
		{
			name: "as it should be, and again elsewhere: a rename was cut short", latest: recordWith(nil), elsewhere: true,
			want: Doubled, action: ActionRemoveEarlier,
		},
		{name: "made from something else", latest: recordWith(func(r *Record) { r.Digest = Digest("content:0") }), want: OutOfDate, action: ActionUpgrade},
		{name: "superseded by nothing: killed between two writes", latest: recordWith(status(StatusSuperseded)), want: OutOfDate, action: ActionUpgrade},
		{name: "an upgrade failed", latest: recordWith(status(StatusFailed)), deployed: true, want: Failed, action: ActionUpgrade},
		{name: "an install failed", latest: recordWith(status(StatusFailed)), want: NeverDeployed, action: ActionReinstall},
		{name: "killed while installing", latest: recordWith(status(StatusPendingInstall)), want: Interrupted, action: ActionRecover},
		{name: "killed while upgrading", latest: recordWith(status(StatusPendingUpgrade)), want: Interrupted, action: ActionRecover},
		{name: "killed while rolling back", latest: recordWith(status(StatusPendingRollback)), want: Interrupted, action: ActionRecover},
		{name: "killed while uninstalling, and wanted again", latest: recordWith(status(StatusUninstalling)), want: Interrupted, action: ActionRecover},
		{name: "uninstalled but for its record, and wanted again", latest: recordWith(status(StatusUninstalled)), want: Interrupted, action: ActionRecover},
		{name: "a status of Helm's that says nothing", latest: recordWith(status(StatusUnknown)), want: Interrupted, action: ActionRecover},
		{
			name: "made for a deployment that was made anew since", latest: recordWith(func(r *Record) { r.UID = "uid-1" }),
			want: Inherited, action: ActionAdopt,
		},
		{
			name: "made for a hub that was rebuilt since", latest: recordWith(func(r *Record) { r.Hub = "old" }),
			want: Inherited, action: ActionAdopt,
		},
		{
			name:   "inherited, and something else is wanted: first things first",
			latest: recordWith(func(r *Record) { r.UID, r.Digest = "uid-1", "other" }), want: Inherited, action: ActionAdopt,
		},
		{
			name:   "inherited in the middle of something",
			latest: recordWith(func(r *Record) { r.UID, r.Status = "uid-1", StatusUninstalling }), want: Inherited, action: ActionAdopt,
		},
		{
			name:   "of an earlier deployment of another agent: not inherited",
			latest: recordWith(func(r *Record) { r.UID, r.Agent = "uid-1", "other" }), want: Foreign, action: ActionRefuse,
		},
		{name: "made by a person with helm", latest: recordWith(func(r *Record) { r.Deployment, r.Agent, r.Hub, r.UID = "", "", "", "" }), want: Foreign, action: ActionRefuse},
		{name: "made for another deployment", latest: recordWith(func(r *Record) { r.Deployment = "other" }), want: Foreign, action: ActionRefuse},
		{name: "made by another agent", latest: recordWith(func(r *Record) { r.Agent = "other" }), want: Foreign, action: ActionRefuse},
		{
			name:   "made for another deployment, and to be taken over",
			latest: recordWith(func(r *Record) { r.Deployment = "other" }), takeOwnership: true, want: Claimed, action: ActionUpgrade,
		},
		{name: "ours, taking over changes nothing", latest: recordWith(nil), takeOwnership: true, want: InSync, action: ActionNone},
		{name: "a foreign release that is pending is still foreign", latest: recordWith(func(r *Record) { r.Agent, r.Status = "other", StatusPendingInstall }), want: Foreign, action: ActionRefuse},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Assess(Situation{
				Owner: testOwner(), Digest: Digest("content:1"), TakeOwnership: test.takeOwnership,
				Latest: test.latest, Deployed: test.deployed, Elsewhere: test.elsewhere,
			})
			if got != test.want {
				t.Errorf("state is %s, want %s", got, test.want)
			}
			if action := got.Action(); action != test.action {
				t.Errorf("action is %s, want %s", action, test.action)
			}
		})
	}
}

// Whatever the state, an action that is taken leads, with the record it
// leaves, to a state closer to InSync: no two states send each other back.
func TestActionsLeadToInSync(t *testing.T) {
	after := map[Action]func(*Situation){
		ActionInstall:   func(s *Situation) { s.Latest = recordWith(nil) },
		ActionMove:      func(s *Situation) { s.Latest = recordWith(nil) },
		ActionReinstall: func(s *Situation) { s.Latest = recordWith(nil) },
		ActionUpgrade:   func(s *Situation) { s.Latest = recordWith(nil) },
		ActionRecover:   func(s *Situation) { s.Latest = recordWith(func(r *Record) { r.Status = StatusFailed }) },
		ActionAdopt: func(s *Situation) {
			s.Latest = recordWith(func(r *Record) { r.Status, r.Digest = s.Latest.Status, s.Latest.Digest })
		},
		ActionRemoveEarlier: func(s *Situation) { s.Elsewhere = false },
	}
	statuses := []Status{
		StatusDeployed, StatusSuperseded, StatusFailed, StatusUninstalling, StatusUninstalled,
		StatusPendingInstall, StatusPendingUpgrade, StatusPendingRollback, StatusUnknown,
	}
	starts := []Situation{{}, {Elsewhere: true}}
	for _, status := range statuses {
		for _, uid := range []types.UID{"uid-1", "uid-2"} {
			for _, digest := range []string{Digest("content:0"), Digest("content:1")} {
				for _, elsewhere := range []bool{false, true} {
					starts = append(starts, Situation{Elsewhere: elsewhere, Latest: recordWith(func(r *Record) {
						r.Status, r.UID, r.Digest = status, uid, digest
					})})
				}
			}
		}
	}
	for _, s := range starts {
		s.Owner, s.Digest = testOwner(), Digest("content:1")
		var taken []Action
		for range maxSteps {
			action := Assess(s).Action()
			if action == ActionNone {
				break
			}
			taken = append(taken, action)
			after[action](&s)
		}
		if state := Assess(s); state != InSync {
			t.Errorf("after %v the state is %s", taken, state)
		}
	}
}
