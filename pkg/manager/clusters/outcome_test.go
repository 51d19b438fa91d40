package clusters

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

func TestOutcomeDiffers(t *testing.T) {
	done := func() *status.Result { return &status.Result{OK: true, Reason: ReasonProcessed} }
	tests := []struct {
		name string
		a, b outcome
		want bool
	}{
		{"nothing is known", outcome{}, outcome{}, false},
		{"the same", outcome{processed: done()}, outcome{processed: done()}, false},
		{"something got known", outcome{}, outcome{processed: done()}, true},
		{"it failed", outcome{processed: done()}, outcome{processed: &status.Result{Reason: ReasonHubError}}, true},
		{"for another cause", outcome{imported: &status.Result{Message: "a"}}, outcome{imported: &status.Result{Message: "b"}}, true},
		{"another setting", outcome{installed: &installation{generation: 1}}, outcome{installed: &installation{generation: 2}}, true},
		{"the same settings", outcome{installed: &installation{generation: 1}}, outcome{installed: &installation{generation: 1}}, false},
	}
	for _, tt := range tests {
		if got := tt.a.differs(tt.b); got != tt.want {
			t.Errorf("%s: differs = %v", tt.name, got)
		}
	}
}

func TestResultOf(t *testing.T) {
	hub := errors.New("hub is away")
	wrong := fmt.Errorf("wrapped: %w", &problem{ReasonUnreachable, "no answer"})
	fine := &status.Result{OK: true, Reason: ReasonImported}
	failed := &status.Result{Reason: ReasonForbidden, Message: "no"}
	tests := []struct {
		name   string
		err    error
		before *status.Result
		want   status.Result
	}{
		{"success", nil, nil, status.Result{OK: true, Reason: ReasonImported}},
		{"success after a failure", nil, failed, status.Result{OK: true, Reason: ReasonImported}},
		{"a user's problem", wrong, fine, status.Result{Reason: ReasonUnreachable, Message: "no answer"}},
		{"the hub fails a new cluster", hub, nil, status.Result{Reason: ReasonHubError, Message: "hub is away"}},
		{"the hub fails a cluster that was fine", hub, fine, *fine},
		{"the hub fails a cluster that was not", hub, failed, status.Result{Reason: ReasonHubError, Message: "hub is away"}},
	}
	for _, tt := range tests {
		if got := resultOf(tt.err, ReasonImported, tt.before); *got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, *got, tt.want)
		}
	}
}

// After a restart, what the conditions say stands until something else is known.
func TestOutcomeAfterARestart(t *testing.T) {
	cluster := newCluster(func(c *fleet.Cluster) {
		c.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionProcessed, Status: "True", Reason: ReasonProcessed}}
	})
	o := outcome{}.placed(cluster, errors.New("hub is away"))
	if !o.processed.OK || o.homeless() {
		t.Errorf("the cluster lost its place because the hub failed: %+v", o.processed)
	}
	o = o.placed(cluster, &problem{ReasonNamespaceTerminating, "gone"})
	if o.processed.OK || !o.homeless() {
		t.Errorf("the cluster keeps a namespace that goes: %+v", o.processed)
	}
	o = o.brought(cluster, &installation{generation: 3}, nil)
	if !o.imported.OK || o.installed.generation != 3 {
		t.Errorf("import: %+v", o)
	}
	if o = o.brought(cluster, nil, &problem{ReasonUnreachable, "no answer"}); o.installed == nil {
		t.Error("an agent that could not be reached lost its settings")
	}
}

func TestNamespaceIsToldOnceThereIsAccess(t *testing.T) {
	cluster := newCluster()
	if got := (outcome{}).namespaceOf(cluster); got != "" {
		t.Errorf("nothing is known, but the namespace is %s", got)
	}
	if got := (outcome{processed: &status.Result{Reason: ReasonNamespaceConflict}}).namespaceOf(cluster); got != "" {
		t.Errorf("it failed, but the namespace is %s", got)
	}
	if got := (outcome{processed: &status.Result{OK: true}}).namespaceOf(cluster); got != names.ClusterNamespace("fleet-default", "c1") {
		t.Errorf("namespace %q", got)
	}
}

func TestInstallationIsNoted(t *testing.T) {
	plain := newCluster()
	var before, after fleet.ClusterStatus
	installationOf(plain, kube.Address{URL: "https://hub", CA: []byte("CA")}).writeTo(&before)
	if before.AgentEnvVarsHash != "" || before.AgentAffinityHash != "" || *before.AgentDeployedGeneration != 0 ||
		before.APIServerURL != "https://hub" || before.APIServerCAHash == "" || before.AgentTLSMode != "strict" {
		t.Errorf("status %+v", before)
	}
	custom := newCluster(func(c *fleet.Cluster) {
		c.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "a"}}
		c.Spec.AgentAffinity = &corev1.Affinity{}
		c.Spec.AgentResources = &corev1.ResourceRequirements{}
		c.Spec.AgentTolerations = []corev1.Toleration{{Key: "a"}}
		c.Spec.AgentSchedulingCustomization = &fleet.AgentSchedulingCustomization{}
		c.Spec.RedeployAgentGeneration = 2
		c.Spec.PrivateRepoURL = "registry"
	})
	installationOf(custom, kube.Address{URL: "https://hub"}).writeTo(&after)
	for what, hash := range map[string]string{
		"env": after.AgentEnvVarsHash, "affinity": after.AgentAffinityHash, "resources": after.AgentResourcesHash,
		"tolerations": after.AgentTolerationsHash, "scheduling": after.AgentSchedulingCustomizationHash,
	} {
		if hash == "" {
			t.Errorf("there is no digest of %s", what)
		}
	}
	if after.AgentTLSMode != "system-store" || after.APIServerCAHash != "" || *after.AgentDeployedGeneration != 2 || after.AgentPrivateRepoURL != "registry" {
		t.Errorf("status %+v", after)
	}
}
