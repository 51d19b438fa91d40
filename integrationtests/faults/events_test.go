package faults

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Events are lost, and the watches that lost them begin anew: what went there and back was nothing, what was replaced by something of
// the same name is something else, and what is gone is gone.
func TestEventsAreLost(t *testing.T) {
	line := harness.NewLine()
	env.StartManager(t, through(line))
	s := newScene(t)
	one, two, three := s.cluster("one", "prod"), s.cluster("two", "prod"), s.inhabited("three", "dev")
	group := s.group("group", "prod")
	web := s.bundle("web", where("prod"))
	grouped := s.bundle("grouped", members("group"))
	moving := s.bundle("moving", where("prod"))
	s.settle()
	before := s.deployments()

	line.Darken()
	// There and back.
	s.relabel(one, "dev")
	s.relabel(one, "prod")
	s.retarget(web, where("dev"))
	s.retarget(web, where("prod"))
	env.ClusterGroups.Remove(s, group)
	env.ClusterGroups.AwaitGone(s, group)
	s.group(group.Name, "prod")
	// There to stay.
	s.retarget(moving, where("dev"))
	// Gone, and come back as something that only has the name.
	replaced := s.replace(grouped, two)
	s.catchUp()
	line.Relist()

	s.settle()
	delete(before, "moving on one")
	delete(before, "moving on two")
	delete(before, "grouped on two")
	s.stays(before)
	if now := s.deployments(); now["moving on three"] == "" {
		t.Errorf("there is no deployment on %s, which matches now", three)
	} else if now["grouped on two"] != replaced {
		t.Errorf("the deployment that somebody made again is gone")
	}
	conditional(t, line)
}

// replace deletes a deployment and makes it again, as somebody with a backup of it would.
func (s *scene) replace(bundle, cluster kube.Key) types.UID {
	s.Helper()
	key := kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name), Name: bundle.Name}
	before, err := env.BundleDeployments.Get(s.Context(), key.Namespace, key.Name)
	if err != nil {
		s.Fatal(err)
	}
	s.witness.Allow(before.UID)
	env.BundleDeployments.Remove(s, key)
	env.BundleDeployments.AwaitGone(s, key)
	again := before.DeepCopy()
	again.UID, again.ResourceVersion, again.Status = "", "", fleet.BundleDeploymentStatus{}
	return env.BundleDeployments.Make(s, again).UID
}
