package registrations

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Reasons of the condition Accepted of a ClusterRegistration. They are part of the API.
const (
	// ReasonGranted: the agent has its credentials.
	ReasonGranted = "Granted"
	// ReasonInvalid: the request misses something, or something in it is too long or not a label.
	ReasonInvalid = "Invalid"
	// ReasonTokenUnknown: the request was not made with a token of its workspace, or the token is gone.
	ReasonTokenUnknown = "TokenUnknown"
	// ReasonTokenExpired: the token has expired.
	ReasonTokenExpired = "TokenExpired"
	// ReasonTokenForAnother: the token is for a cluster with another clientID.
	ReasonTokenForAnother = "TokenForAnotherCluster"
	// ReasonClientIDTaken: another agent has registered with this clientID before.
	ReasonClientIDTaken = "ClientIDTaken"
	// ReasonClientIDAmbiguous: more than one Cluster of the workspace has this clientID.
	ReasonClientIDAmbiguous = "ClientIDAmbiguous"
	// ReasonNameTaken: the name that the Cluster would get belongs to a Cluster with another clientID.
	ReasonNameTaken = "NameTaken"
	// ReasonImported: the Cluster with this clientID is imported by a kubeconfig.
	ReasonImported = "Imported"
	// ReasonLeaving: the Cluster with this clientID is being deleted.
	ReasonLeaving = "ClusterLeaving"
)

// Bounds of what a registration may say.
const (
	maxClientID     = 253
	minClientRandom = 32
	maxClientRandom = 128
	maxLabels       = 64
)

// facts is what was observed of a registration.
type facts struct {
	registration *fleet.ClusterRegistration
	// token is the one that the registration names; nil if there is none.
	token *fleet.ClusterRegistrationToken
	// life is that of token.
	life life
	// credentials are the ids of the tokens that were made for it.
	credentials []string
	// withID are the Clusters of the workspace with the registration's clientID, named is the one of the name that a new one
	// would get.
	withID []*fleet.Cluster
	named  *fleet.Cluster
	// place is where the agent's token is, once there is a Cluster: nil until it was made.
	place        *corev1.Secret
	ignoreLabels bool
}

// step is what is done next about a registration.
type step int

const (
	// stepWait: what is missing is on its way, and its event wakes the registration.
	stepWait step = iota
	// stepRefuse ends it with a reason.
	stepRefuse
	// stepCreate makes the Cluster.
	stepCreate
	// stepClaim notes on the Cluster which agent is its.
	stepClaim
	// stepGrant ends it with the token of the Cluster.
	stepGrant
)

// decision is a step with what it takes.
type decision struct {
	step            step
	reason, message string
	cluster         *fleet.Cluster
}

func refuse(reason, format string, args ...any) decision {
	return decision{step: stepRefuse, reason: reason, message: fmt.Sprintf(format, args...)}
}

// decide says what is done next.
func (f facts) decide() decision {
	if wrong := f.invalid(); wrong != "" {
		return refuse(ReasonInvalid, "%s", wrong)
	}
	if refused := f.unentitled(); refused != nil {
		return *refused
	}
	if len(f.withID) > 1 {
		return refuse(ReasonClientIDAmbiguous, "%d Clusters have this clientID, %s and %s among them: change or remove it in all but one",
			len(f.withID), f.withID[0].Name, f.withID[1].Name)
	}
	if len(f.withID) == 0 {
		if f.named != nil {
			return refuse(ReasonNameTaken, "the Cluster %s exists and has another clientID: delete it, or give it this clientID to have it joined", f.named.Name)
		}
		return decision{step: stepCreate, cluster: f.newCluster()}
	}
	return f.join(f.withID[0])
}

// invalid says what is wrong with the request itself.
func (f facts) invalid() string {
	spec := f.registration.Spec
	switch {
	case spec.ClientID == "" || len(spec.ClientID) > maxClientID:
		return fmt.Sprintf("spec.clientID must have 1 to %d characters", maxClientID)
	case len(spec.ClientRandom) < minClientRandom || len(spec.ClientRandom) > maxClientRandom:
		return fmt.Sprintf("spec.clientRandom must have %d to %d characters", minClientRandom, maxClientRandom)
	case len(spec.ClusterLabels) > maxLabels:
		return fmt.Sprintf("spec.clusterLabels has more than %d labels", maxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(spec.ClusterLabels)) {
		if errs := validation.IsQualifiedName(key); len(errs) > 0 {
			return fmt.Sprintf("spec.clusterLabels: %.100q is no name of a label", key)
		}
		if errs := validation.IsValidLabelValue(spec.ClusterLabels[key]); len(errs) > 0 {
			return fmt.Sprintf("spec.clusterLabels: the value of %s is none of a label", key)
		}
	}
	return ""
}

// unentitled refuses what was not made with a token that holds.
func (f facts) unentitled() *decision {
	var d decision
	switch id := f.registration.Annotations[names.AnnotationCredential]; {
	case f.token == nil || id == "" || !slices.Contains(f.credentials, id):
		d = refuse(ReasonTokenUnknown, "the join token is not one of this workspace, or was deleted: get a new one with `flotilla join`")
	case f.life.over:
		d = refuse(ReasonTokenExpired, "the join token has expired: get a new one with `flotilla join`")
	default:
		only := f.token.Annotations[names.AnnotationOnlyClient]
		if only == "" || only == f.registration.Spec.ClientID {
			return nil
		}
		d = refuse(ReasonTokenForAnother, "the join token is for a cluster with another clientID: get one for this cluster with `flotilla join`")
	}
	return &d
}

// join decides about a cluster that is there.
func (f facts) join(cluster *fleet.Cluster) decision {
	mine := names.Registration(f.registration.Spec.ClientID, f.registration.Spec.ClientRandom)
	switch claimed := cluster.Annotations[names.AnnotationRegistered]; {
	case cluster.DeletionTimestamp != nil:
		return refuse(ReasonLeaving, "the Cluster %s is being deleted: try again when it is gone", cluster.Name)
	case cluster.Spec.KubeConfigSecret != "":
		return refuse(ReasonImported, "the Cluster %s is imported by the Secret %s: remove spec.kubeConfigSecret to have it joined", cluster.Name, cluster.Spec.KubeConfigSecret)
	case claimed == "":
		return decision{step: stepClaim, cluster: cluster}
	case claimed != mine:
		return refuse(ReasonClientIDTaken, "another agent has joined as the Cluster %s: give this cluster a clientID of its own; "+
			"if the agent of that cluster was set up anew, run `flotilla join --replace %s` on the hub, or remove the Cluster's annotation %s",
			cluster.Name, cluster.Name, names.AnnotationRegistered)
	case f.place == nil:
		return decision{step: stepWait, cluster: cluster}
	}
	return decision{step: stepGrant, reason: ReasonGranted, cluster: cluster}
}

// newCluster returns the Cluster of an agent that is not known yet.
func (f facts) newCluster() *fleet.Cluster {
	spec := f.registration.Spec
	cluster := &fleet.Cluster{Spec: fleet.ClusterSpec{ClientID: spec.ClientID}}
	cluster.Namespace, cluster.Name = f.registration.Namespace, names.RegisteredCluster(spec.ClientID)
	cluster.Annotations = map[string]string{names.AnnotationRegistered: names.Registration(spec.ClientID, spec.ClientRandom)}
	if !f.ignoreLabels {
		cluster.Labels = unreserved(spec.ClusterLabels)
	}
	return cluster
}

// unreserved returns the labels that an agent may bring along.
func unreserved(labels map[string]string) map[string]string {
	kept := maps.Clone(labels)
	maps.DeleteFunc(kept, func(key, _ string) bool {
		return key != names.LabelCreatedByAgentPod &&
			(strings.HasPrefix(key, names.PrefixFleet) || strings.HasPrefix(key, names.PrefixManagement))
	})
	return kept
}

// life is how long a join token is valid.
type life struct {
	// ends is when; zero if never.
	ends time.Time
	over bool
}

// lifeOf returns the life of a token at a given time; limit bounds it unless it is zero.
func lifeOf(token *fleet.ClusterRegistrationToken, limit time.Duration, now time.Time) life {
	var ttl time.Duration
	if token.Spec.TTL != nil {
		ttl = token.Spec.TTL.Duration
	}
	if limit > 0 && (ttl <= 0 || ttl > limit) {
		ttl = limit
	}
	if ttl <= 0 {
		return life{}
	}
	ends := token.CreationTimestamp.Add(ttl)
	return life{ends: ends, over: !now.Before(ends)}
}
