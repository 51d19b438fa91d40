// Package faults tests that the manager comes to the right end, and removes nothing on the way that should stay, whatever fails:
// the manager itself at any request, the answers that it waits for, the events that it lives on, the age of what it is shown, its
// lease, and the store of the hub.
package faults

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/churn/oracle"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

var (
	env *harness.Environment

	atPlaces = flag.Int("faults.places", 0, "at how many places of each story a fault strikes, at most; 0 is 1 with -short, else 10")
)

func TestMain(m *testing.M) {
	if err := harness.Silence(); err != nil {
		panic(err)
	}
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

// still is how long nothing may be written until the manager counts as having done what it wants.
const still = 700 * time.Millisecond

// scene is two workspaces with a witness. Agents are played where a cluster has one.
type scene struct {
	*testing.T
	home, away string
	witness    *oracle.Witness
	history    *harness.History
	facts      oracle.Facts
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, home: env.Workspace(t), away: env.Workspace(t), facts: oracle.Facts{Repositories: map[string]oracle.Head{}}}
	s.watch()
	return s
}

// watch begins to follow the store.
func (s *scene) watch() {
	s.Helper()
	s.witness = oracle.NewWitness(map[string]map[string]string{
		s.home: {corev1.LabelMetadataName: s.home}, s.away: {corev1.LabelMetadataName: s.away},
	})
	agents := make(chan kube.Key, 1024)
	s.witness.Heard = func(kind string, key kube.Key) {
		if strings.HasSuffix(kind, "/bundledeployments") {
			agents <- key
		}
	}
	s.history = env.History(s, s.witness.Hear)
	over := make(chan struct{})
	go func() {
		for key := range agents {
			s.play(key)
		}
		close(over)
	}()
	s.Cleanup(func() {
		s.history.End()
		close(agents)
		<-over
	})
}

// play has the agents of clusters that have one confirm removals.
func (s *scene) play(key kube.Key) {
	for range 20 {
		bd, err := env.BundleDeployments.Get(s.Context(), key.Namespace, key.Name)
		if err != nil || bd.DeletionTimestamp == nil || len(bd.Finalizers) == 0 || status.IsTrue(bd.Status.Conditions, fleet.ConditionRemoved) {
			return
		}
		after := bd.DeepCopy()
		status.Set(&after.Status.Conditions, fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionTrue, Reason: "Removed"}, metav1.Now())
		if _, err = env.BundleDeployments.PatchStatus(s.Context(), bd, after); err == nil {
			return
		}
	}
}

// through has the manager's requests go through a line.
func through(line *harness.Line) func(*manager.Config) {
	return func(config *manager.Config) { config.Hub = line.Through(config.Hub) }
}

func (s *scene) cluster(name, environment string) kube.Key {
	s.Helper()
	return harness.KeyOf(env.Clusters.Make(s, harness.NewCluster(s.home, name, map[string]string{"env": environment})))
}

// inhabited makes a cluster with an agent.
func (s *scene) inhabited(name, environment string) kube.Key {
	s.Helper()
	key := s.cluster(name, environment)
	env.Clusters.Await(s, key, func(c *fleet.Cluster) error {
		if c.Status.Namespace == "" {
			return fmt.Errorf("it has no namespace yet")
		}
		return nil
	})
	env.Clusters.EditStatus(s, key, func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.Now() })
	return key
}

func (s *scene) bundle(name string, targets ...fleet.BundleTarget) kube.Key {
	s.Helper()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: s.home, Name: name}}
	b.Spec.Resources = []fleet.BundleResource{{Name: "configmap.yaml", Content: manifest(s.home + "-" + name)}}
	b.Spec.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"cluster": "${ .ClusterName }"}}}
	b.Spec.Targets = targets
	return harness.KeyOf(env.Bundles.Make(s, b))
}

func manifest(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}

func (s *scene) retarget(b kube.Key, targets ...fleet.BundleTarget) {
	s.Helper()
	env.Bundles.Edit(s, b, func(b *fleet.Bundle) { b.Spec.Targets = targets })
}

func (s *scene) relabel(cluster kube.Key, environment string) {
	s.Helper()
	env.Clusters.Edit(s, cluster, func(c *fleet.Cluster) { c.Labels["env"] = environment })
}

func (s *scene) group(name, environment string) kube.Key {
	s.Helper()
	return harness.KeyOf(env.ClusterGroups.Make(s, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.home, Name: name},
		Spec:       fleet.ClusterGroupSpec{Selector: inEnv(environment)},
	}))
}

func inEnv(environment string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"env": environment}}
}

func everywhere() fleet.BundleTarget {
	return fleet.BundleTarget{Name: "all", ClusterSelector: &metav1.LabelSelector{}}
}

func where(environment string) fleet.BundleTarget {
	return fleet.BundleTarget{Name: environment, ClusterSelector: inEnv(environment)}
}

func members(group string) fleet.BundleTarget {
	return fleet.BundleTarget{Name: group, ClusterGroup: group}
}

// catchUp returns when the witness has heard of everything that was written so far.
func (s *scene) catchUp() {
	s.Helper()
	env.Namespaces.Edit(s, kube.Key{Name: s.home}, func(n *corev1.Namespace) {
		n.Annotations = map[string]string{"mark": time.Now().String()}
	})
	ns, err := env.Namespaces.Get(s.Context(), "", s.home)
	if err != nil {
		s.Fatal(err)
	}
	mark, err := strconv.ParseInt(ns.ResourceVersion, 10, 64)
	if err != nil {
		s.Fatal(err)
	}
	harness.Eventually(s, "the witness has heard of everything", func(ctx) error {
		if heard := s.witness.Revision(); heard < mark {
			return fmt.Errorf("it is at revision %d of %d (%w)", heard, mark, s.history.Err())
		}
		return nil
	})
}

// wrong says what is missing until all has come to its end, or was done that should not have been.
func (s *scene) wrong() error {
	if wrong := s.witness.Settled(s.facts); len(wrong) > 0 {
		return fmt.Errorf("%d things are wrong: %s", len(wrong), strings.Join(wrong, "; "))
	}
	return nil
}

// settle waits until everything is right and nothing is written any more.
func (s *scene) settle() {
	s.Helper()
	s.catchUp()
	harness.Eventually(s, "everything has settled", func(ctx ctx) error {
		if err := s.wrong(); err != nil {
			return err
		}
		if !s.history.AwaitStill(ctx, still) {
			return s.history.Err()
		}
		return s.wrong()
	})
	s.innocent()
}

// innocent fails the test if anything was deleted that nothing justified.
func (s *scene) innocent() {
	s.Helper()
	for _, offence := range s.witness.Offences() {
		s.Errorf("%s", offence)
	}
}

// deployments returns what is deployed where: "bundle on cluster" with the identity of the deployment.
func (s *scene) deployments() map[string]types.UID {
	found := map[string]types.UID{}
	s.witness.Look(func(w *oracle.World) {
		for _, bd := range w.Deployments {
			if bd.DeletionTimestamp == nil {
				found[bd.Labels[names.LabelBundleName]+" on "+bd.Labels[names.LabelCluster]] = bd.UID
			}
		}
	})
	return found
}

// stays fails the test unless every deployment of before is the same as then.
func (s *scene) stays(before map[string]types.UID) {
	s.Helper()
	now := s.deployments()
	for pair, uid := range before {
		if now[pair] != uid {
			s.Errorf("%s is %q, was %q", pair, now[pair], uid)
		}
	}
}

// conditional fails the test if the line carried a delete that would hold for anything but the very state that was decided about.
func conditional(t *testing.T, line *harness.Line) (deletes int) {
	t.Helper()
	for _, r := range line.Requests() {
		if r.Method != http.MethodDelete || !strings.Contains(r.Path, fleet.SchemeGroupVersion.Group) {
			continue
		}
		deletes++
		var options struct{ Preconditions metav1.Preconditions }
		decode(t, r.Body, &options)
		if p := options.Preconditions; p.UID == nil || p.ResourceVersion == nil {
			t.Errorf("a delete without preconditions: %s", r)
		}
	}
	return deletes
}
