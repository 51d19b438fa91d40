package clusters

import (
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// outcome is what acting on a cluster came to. After a restart it is empty until the cluster was looked at again; what
// the status says stands until then.
type outcome struct {
	// processed is about the cluster's place on the hub, imported about its agent.
	processed, imported *status.Result
	// installed describes the agent that was installed; nil if that is not known.
	installed *installation
}

// placed returns the outcome after an attempt to give the cluster its place on the hub.
func (o outcome) placed(cluster *fleet.Cluster, err error) outcome {
	o.processed = resultOf(err, ReasonProcessed, orTold(o.processed, cluster, fleet.ConditionProcessed))
	return o
}

// brought returns the outcome after an attempt to install the agent.
func (o outcome) brought(cluster *fleet.Cluster, installed *installation, err error) outcome {
	o.imported = resultOf(err, ReasonImported, orTold(o.imported, cluster, fleet.ConditionImported))
	if err == nil {
		o.installed = installed
	}
	return o
}

// joined returns the outcome after an attempt to make the token of an agent that registered itself. installed are the
// settings that the agent has by now; nil if that is not known.
func (o outcome) joined(cluster *fleet.Cluster, installed *installation, err error) outcome {
	o.imported = resultOf(err, ReasonRegistered, orTold(o.imported, cluster, fleet.ConditionImported))
	if installed != nil {
		o.installed = installed
	}
	return o
}

// resultOf says to a user what an attempt came to. A cluster that was fine before stays so while the hub itself fails:
// the attempt is made again, and nothing is known about the cluster.
func resultOf(err error, done string, before *status.Result) *status.Result {
	var asked *problem
	switch {
	case err == nil:
		return &status.Result{OK: true, Reason: done}
	case errors.As(err, &asked):
		return &status.Result{Reason: asked.Reason, Message: asked.Message}
	case before != nil && before.OK:
		return before
	default:
		return &status.Result{Reason: ReasonHubError, Message: err.Error()}
	}
}

func orTold(result *status.Result, cluster *fleet.Cluster, kind string) *status.Result {
	if result != nil {
		return result
	}
	return told(cluster, kind)
}

// told returns what the condition of the cluster says, from before a restart; nil if there is none.
func told(cluster *fleet.Cluster, kind string) *status.Result {
	condition := status.Get(cluster.Status.Conditions, kind)
	if condition == nil {
		return nil
	}
	return &status.Result{OK: condition.Status == metav1.ConditionTrue, Reason: condition.Reason, Message: condition.Message}
}

// homeless says that the namespace which the cluster needs is not the cluster's, so that nothing may be deployed to it.
func (o outcome) homeless() bool {
	return o.processed != nil && (o.processed.Reason == ReasonNamespaceConflict || o.processed.Reason == ReasonNamespaceTerminating)
}

// differs says whether the other outcome would be reported otherwise.
func (o outcome) differs(other outcome) bool {
	return !same(o.processed, other.processed) || !same(o.imported, other.imported) || !same(o.installed, other.installed)
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// installation holds the settings that an installed agent has.
type installation struct {
	generation                                                      int64
	apiServerURL, apiServerCAHash, tlsMode                          string
	envVarsHash, affinityHash, resourcesHash                        string
	tolerationsHash, schedulingHash, privateRepoURL, agentNamespace string
	hostNetwork                                                     bool
}

// installationOf returns the settings of a cluster's agent that reaches the hub at the given address.
func installationOf(cluster *fleet.Cluster, hub kube.Address) *installation {
	spec := cluster.Spec
	i := &installation{
		generation:     spec.RedeployAgentGeneration,
		apiServerURL:   hub.URL,
		privateRepoURL: spec.PrivateRepoURL,
		hostNetwork:    spec.HostNetwork != nil && *spec.HostNetwork,
		agentNamespace: agentNamespace(cluster),
		tlsMode:        "system-store",
	}
	if len(hub.CA) > 0 {
		i.tlsMode, i.apiServerCAHash = "strict", digestOf(string(hub.CA))
	}
	if len(spec.AgentEnvVars) > 0 {
		i.envVarsHash = digestOf(spec.AgentEnvVars)
	}
	if spec.AgentAffinity != nil {
		i.affinityHash = digestOf(spec.AgentAffinity)
	}
	if spec.AgentResources != nil {
		i.resourcesHash = digestOf(spec.AgentResources)
	}
	if len(spec.AgentTolerations) > 0 {
		i.tolerationsHash = digestOf(spec.AgentTolerations)
	}
	if spec.AgentSchedulingCustomization != nil {
		i.schedulingHash = digestOf(spec.AgentSchedulingCustomization)
	}
	return i
}

// writeTo notes the settings in the status of the cluster.
func (i *installation) writeTo(s *fleet.ClusterStatus) {
	generation := i.generation
	s.AgentDeployedGeneration = &generation
	s.APIServerURL, s.APIServerCAHash, s.AgentTLSMode = i.apiServerURL, i.apiServerCAHash, i.tlsMode
	s.AgentEnvVarsHash, s.AgentAffinityHash, s.AgentResourcesHash = i.envVarsHash, i.affinityHash, i.resourcesHash
	s.AgentTolerationsHash, s.AgentSchedulingCustomizationHash = i.tolerationsHash, i.schedulingHash
	s.AgentPrivateRepoURL, s.AgentHostNetwork = i.privateRepoURL, i.hostNetwork
}

// namespaceOf returns the cluster's namespace once the agent has access to it, and nothing before.
func (o outcome) namespaceOf(cluster *fleet.Cluster) string {
	if o.processed == nil || !o.processed.OK {
		return ""
	}
	return names.ClusterNamespace(cluster.Namespace, cluster.Name)
}
