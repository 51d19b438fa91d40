package bundles

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// deployed is a deployment of the bundle web that is ready.
func deployed(cluster string, changes ...func(*fleet.BundleDeployment)) *fleet.BundleDeployment {
	bd := &fleet.BundleDeployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: names.ClusterNamespace("fleet-default", cluster), Name: "web",
		Labels: map[string]string{
			names.LabelBundleName: "web", names.LabelBundleNamespace: "fleet-default",
			names.LabelCluster: cluster, names.LabelClusterNamespace: "fleet-default",
		},
	}}
	bd.Spec.DeploymentID, bd.Spec.StagedDeploymentID = "id", "id"
	bd.Status = fleet.BundleDeploymentStatus{AppliedDeploymentID: "id", Ready: true, NonModified: true}
	for _, change := range changes {
		change(bd)
	}
	return bd
}

func notReady(bd *fleet.BundleDeployment) { bd.Status.Ready = false }

func ofBundle(name string) func(*fleet.BundleDeployment) {
	return func(bd *fleet.BundleDeployment) { bd.Labels[names.LabelBundleName] = name }
}

func event(old, now *fleet.BundleDeployment) kube.Event[*fleet.BundleDeployment] {
	return kube.Event[*fleet.BundleDeployment]{Old: old, New: now}
}

func keyOf(name string) kube.Key { return kube.Key{Namespace: "fleet-default", Name: name} }

func bundleOf(name string) *fleet.Bundle {
	return &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name}}
}

// summary tells what the status of a bundle would say.
func (r *rollups) summary(name string) fleet.BundleSummary {
	r.conclude(keyOf(name), outcome{known: true, generation: 1})
	return r.status(bundleOf(name), metav1.Time{}).Summary
}

func TestRollupsOfDeploymentsThatChangeHands(t *testing.T) {
	r := newRollups()
	mine := deployed("c")
	r.deployment(event(nil, mine))
	// Somebody has edited the label: it is another bundle's now.
	show := r.deployment(event(mine, deployed("c", ofBundle("other"))))
	if len(show) != 2 {
		t.Errorf("it shows in %v", show)
	}
	if n := r.summary("web").DesiredReady; n != 0 {
		t.Errorf("its former bundle counts %d", n)
	}
	if n := r.summary("other").Ready; n != 1 {
		t.Errorf("its bundle counts %d", n)
	}
	if show := r.deployment(event(deployed("c", ofBundle("other")), nil)); len(show) != 1 {
		t.Errorf("its end shows in %v", show)
	}
	r.forget(keyOf("web"))
	r.forget(keyOf("other"))
	if len(r.bundles) != 0 {
		t.Errorf("%d bundles are kept", len(r.bundles))
	}
}

func TestRollupsOfAChangeThatDoesNotShow(t *testing.T) {
	r := newRollups()
	before := deployed("c")
	r.deployment(event(nil, before))
	after := deployed("c", func(bd *fleet.BundleDeployment) { bd.Status.Release = "x/web:2" })
	if show := r.deployment(event(before, after)); len(show) != 0 {
		t.Errorf("it shows in %v", show)
	}
	if show := r.deployment(event(after, deployed("c", notReady))); len(show) != 1 {
		t.Errorf("what does show shows in %v", show)
	}
}

func TestRollupsOfATargetThatTheRolloutHolds(t *testing.T) {
	r := newRollups()
	r.deployment(event(nil, deployed("a")))
	r.deployment(event(nil, deployed("b")))
	r.expect(keyOf("web"), []status.Target{
		{Cluster: "fleet-default/a", Fingerprint: "new"},
		{Cluster: "fleet-default/b", Fingerprint: "new", Held: "waits for canary", Reason: string(rollout.ReasonPartition)},
	}, nil)
	s := r.summary("web")
	if s.WaitApplied != 1 || s.OutOfSync != 1 || s.Ready != 0 {
		t.Errorf("summary is %+v", s)
	}
	if list := s.NonReadyResources; len(list) != 2 || list[1].Message != "waits for canary" {
		t.Errorf("it names %+v", list)
	}
	r.expect(keyOf("web"), nil, []string{"fleet-default/a", "fleet-default/b"})
	if s := r.summary("web"); s.Ready != 2 || s.DesiredReady != 2 {
		t.Errorf("deployments that nobody removes: %+v", s)
	}
}

func TestRollupsOfClustersThatGoOffline(t *testing.T) {
	r := newRollups()
	r.deployment(event(nil, deployed("c")))
	on := func(_ kube.Key, bundle func(kube.Key)) { bundle(keyOf("web")); bundle(keyOf("unknown")) }
	here := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "c"}}
	away := here.DeepCopy()
	status.Set(&away.Status.Conditions, fleet.Condition{Type: fleet.ConditionClusterReachable, Status: "False"}, metav1.Time{})
	for _, step := range []struct {
		event         kube.Event[*fleet.Cluster]
		show, unknown int
	}{
		{kube.Event[*fleet.Cluster]{New: here}, 0, 0},
		{kube.Event[*fleet.Cluster]{Old: here, New: away}, 1, 1},
		{kube.Event[*fleet.Cluster]{Old: away, New: away}, 0, 1},
		{kube.Event[*fleet.Cluster]{Old: away, New: here}, 1, 0},
		{kube.Event[*fleet.Cluster]{Old: here, New: away}, 1, 1},
		{kube.Event[*fleet.Cluster]{Old: away}, 1, 0},
	} {
		if show := r.cluster(step.event, on); len(show) != step.show {
			t.Errorf("%+v shows in %v", step.event, show)
		}
		if n := r.summary("web").Unknown; n != step.unknown {
			t.Errorf("%d are unknown, want %d", n, step.unknown)
		}
	}
}

// audited is a controller with caches and nothing else.
func audited(t *testing.T) (*controller, cache.Indexer) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	c := &controller{Deps: Deps{Clock: clocktesting.NewFakePassiveClock(time.Unix(0, 0))}, rollups: newRollups()}
	var bundles, deployments cache.Indexer
	bundles, c.bundles = store[*fleet.Bundle]()
	deployments, c.deployments = store[*fleet.BundleDeployment]()
	_, c.clusters = store[*fleet.Cluster]()
	err := deployments.AddIndexers(cache.Indexers{kube.DeploymentsByBundle: func(obj any) ([]string, error) {
		return []string{kube.BundleOf(obj.(*fleet.BundleDeployment)).String()}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.status = kube.NewQueue(kube.QueueOptions{Name: "test", Log: log})
	web := bundleOf("web")
	c.rollups.conclude(keyOf("web"), outcome{known: true, generation: 1})
	bd := deployed("c")
	c.rollups.deployment(event(nil, bd))
	if err := deployments.Add(bd); err != nil {
		t.Fatal(err)
	}
	web.Status = c.rollups.status(web, metav1.NewTime(c.Clock.Now()))
	if err := bundles.Add(web); err != nil {
		t.Fatal(err)
	}
	return c, deployments
}

// What is kept may be wrong, by a mistake of ours or of a library: counting anew finds it and puts it right.
func TestRecountFindsWhatIsKeptWrong(t *testing.T) {
	c, deployments := audited(t)
	if difference, err := c.mismatch(keyOf("web")); err != nil || difference != "" {
		t.Fatalf("all is right, and differs: %s %v", difference, err)
	}
	// A deployment of which no event has told.
	if err := deployments.Add(deployed("d", notReady)); err != nil {
		t.Fatal(err)
	}
	first, err := c.mismatch(keyOf("web"))
	if err != nil || !strings.Contains(first, `"notReady":1`) {
		t.Errorf("difference is %q, error %v", first, err)
	}
	again, err := c.mismatch(keyOf("web"))
	if err != nil || again != first {
		t.Errorf("the second look says %q (%v)", again, err)
	}
	if err := c.repair(keyOf("web")); err != nil {
		t.Fatal(err)
	}
	if s := c.rollups.summary("web"); s.NotReady != 1 || s.Ready != 1 {
		t.Errorf("after the repair: %+v", s)
	}
	if c.status.Len() != 1 {
		t.Error("the repair wakes nobody")
	}
}

// The hub says what is right, but what is kept is wrong: the next write would be.
func TestRecountFindsWhatDoesNotShowYet(t *testing.T) {
	c, _ := audited(t)
	c.rollups.deployment(event(nil, deployed("ghost")))
	difference, err := c.mismatch(keyOf("web"))
	if err != nil || difference == "" {
		t.Errorf("difference is %q, error %v", difference, err)
	}
	if err := c.repair(keyOf("web")); err != nil {
		t.Fatal(err)
	}
	if difference, err := c.mismatch(keyOf("web")); err != nil || difference != "" {
		t.Errorf("after the repair it differs by %s (%v)", difference, err)
	}
}

// A change that nobody has marked stays unseen, until the targets are looked for anew.
func TestRecountFindsTargetsThatWereNotNoticed(t *testing.T) {
	c, _ := audited(t)
	var bundles, clusters cache.Indexer
	bundles, c.bundles = store[*fleet.Bundle]()
	clusters, c.clusters = store[*fleet.Cluster]()
	_, c.groups = store[*fleet.ClusterGroup]()
	_, c.restrictions = store[*fleet.GitRepoRestriction]()
	_, c.policies = store[*fleet.Policy]()
	_, c.mappings = store[*fleet.BundleNamespaceMapping]()
	c.marks = kube.NewMarks[part]()
	c.targets = c.status
	web := bundleOf("web")
	web.Generation = 1
	web.Spec.Targets = []fleet.BundleTarget{{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}}
	if err := bundles.Add(web); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]string{"a": "prod", "b": "dev", "c": "prod"} {
		cluster := &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: name, Labels: map[string]string{"env": env}}}
		if err := clusters.Add(cluster); err != nil {
			t.Fatal(err)
		}
	}
	c.rollups.expect(keyOf("web"), []status.Target{{Cluster: "fleet-default/b"}, {Cluster: "fleet-default/c"}}, nil)
	difference, err := c.missedTargets(keyOf("web"))
	if err != nil || difference != "+fleet-default/a -fleet-default/b" {
		t.Errorf("difference is %q, error %v", difference, err)
	}
	if err := c.targetsAccount().Repair(keyOf("web")); err != nil || !c.marks.Take(keyOf("web")).All {
		t.Errorf("the bundle is not looked at again (%v)", err)
	}
	// One that is being reconciled anyway says nothing.
	c.rollups.conclude(keyOf("web"), outcome{known: true, generation: 0})
	if difference, err := c.missedTargets(keyOf("web")); err != nil || difference != "" {
		t.Errorf("difference is %q, error %v", difference, err)
	}
}
