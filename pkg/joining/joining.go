// Package joining decides how a registration of an agent is answered: which Cluster it joins, or why it joins none.
package joining

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
	MaxClientID     = 253
	MinClientRandom = 32
	MaxClientRandom = 128
	MaxLabels       = 64
)

// Facts are what was observed of a registration.
type Facts struct {
	Registration *fleet.ClusterRegistration
	// Token is the one that the registration names; nil if there is none.
	Token *fleet.ClusterRegistrationToken
	// Life is that of Token.
	Life Life
	// Credentials are the ids of the tokens that were made for it.
	Credentials []string
	// WithID are the Clusters of the workspace with the registration's clientID, Named is the one of the name that a new one
	// would get.
	WithID []*fleet.Cluster
	Named  *fleet.Cluster
	// Place is where the agent's token is, once there is a Cluster: nil until it was made.
	Place        *corev1.Secret
	IgnoreLabels bool
}

// Step is what is done next about a registration.
type Step int

const (
	// Wait: what is missing is on its way, and its event wakes the registration.
	Wait Step = iota
	// Refuse ends it with a reason.
	Refuse
	// Create makes the Cluster.
	Create
	// Claim notes on the Cluster which agent is its.
	Claim
	// Grant ends it with the token of the Cluster.
	Grant
)

// Decision is a step with what it takes.
type Decision struct {
	Step            Step
	Reason, Message string
	Cluster         *fleet.Cluster
}

func refuse(reason, format string, args ...any) Decision {
	return Decision{Step: Refuse, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Decide says what is done next.
func (f Facts) Decide() Decision {
	if wrong := f.invalid(); wrong != "" {
		return refuse(ReasonInvalid, "%s", wrong)
	}
	if refused := f.unentitled(); refused != nil {
		return *refused
	}
	if len(f.WithID) > 1 {
		return refuse(ReasonClientIDAmbiguous, "%d Clusters have this clientID, %s and %s among them: change or remove it in all but one",
			len(f.WithID), f.WithID[0].Name, f.WithID[1].Name)
	}
	if len(f.WithID) == 0 {
		if f.Named != nil {
			return refuse(ReasonNameTaken, "the Cluster %s exists and has another clientID: delete it, or give it this clientID to have it joined", f.Named.Name)
		}
		return Decision{Step: Create, Cluster: f.newCluster()}
	}
	return f.join(f.WithID[0])
}

// invalid says what is wrong with the request itself.
func (f Facts) invalid() string {
	spec := f.Registration.Spec
	switch {
	case spec.ClientID == "" || len(spec.ClientID) > MaxClientID:
		return fmt.Sprintf("spec.clientID must have 1 to %d characters", MaxClientID)
	case len(spec.ClientRandom) < MinClientRandom || len(spec.ClientRandom) > MaxClientRandom:
		return fmt.Sprintf("spec.clientRandom must have %d to %d characters", MinClientRandom, MaxClientRandom)
	case len(spec.ClusterLabels) > MaxLabels:
		return fmt.Sprintf("spec.clusterLabels has more than %d labels", MaxLabels)
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
func (f Facts) unentitled() *Decision {
	var d Decision
	switch id := f.Registration.Annotations[names.AnnotationCredential]; {
	case f.Token == nil || id == "" || !slices.Contains(f.Credentials, id):
		d = refuse(ReasonTokenUnknown, "the join token is not one of this workspace, or was deleted: get a new one with `flotilla join`")
	case f.Life.Over:
		d = refuse(ReasonTokenExpired, "the join token has expired: get a new one with `flotilla join`")
	default:
		only := f.Token.Annotations[names.AnnotationOnlyClient]
		if only == "" || only == f.Registration.Spec.ClientID {
			return nil
		}
		d = refuse(ReasonTokenForAnother, "the join token is for a cluster with another clientID: get one for this cluster with `flotilla join`")
	}
	return &d
}

// join decides about a cluster that is there.
func (f Facts) join(cluster *fleet.Cluster) Decision {
	mine := names.Registration(f.Registration.Spec.ClientID, f.Registration.Spec.ClientRandom)
	switch claimed := cluster.Annotations[names.AnnotationRegistered]; {
	case cluster.DeletionTimestamp != nil:
		return refuse(ReasonLeaving, "the Cluster %s is being deleted: try again when it is gone", cluster.Name)
	case cluster.Spec.KubeConfigSecret != "":
		return refuse(ReasonImported, "the Cluster %s is imported by the Secret %s: remove spec.kubeConfigSecret to have it joined", cluster.Name, cluster.Spec.KubeConfigSecret)
	case claimed == "":
		return Decision{Step: Claim, Cluster: cluster}
	case claimed != mine:
		return refuse(ReasonClientIDTaken, "another agent has joined as the Cluster %s: give this cluster a clientID of its own; "+
			"if the agent of that cluster was set up anew, run `flotilla join --replace %s` on the hub, or remove the Cluster's annotation %s",
			cluster.Name, cluster.Name, names.AnnotationRegistered)
	case f.Place == nil:
		return Decision{Step: Wait, Cluster: cluster}
	}
	return Decision{Step: Grant, Reason: ReasonGranted, Cluster: cluster}
}

// newCluster returns the Cluster of an agent that is not known yet.
func (f Facts) newCluster() *fleet.Cluster {
	spec := f.Registration.Spec
	cluster := &fleet.Cluster{Spec: fleet.ClusterSpec{ClientID: spec.ClientID}}
	cluster.Namespace, cluster.Name = f.Registration.Namespace, names.RegisteredCluster(spec.ClientID)
	cluster.Annotations = map[string]string{names.AnnotationRegistered: names.Registration(spec.ClientID, spec.ClientRandom)}
	if !f.IgnoreLabels {
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

// Life is how long a join token is valid.
type Life struct {
	// Ends is when; zero if never.
	Ends time.Time
	Over bool
}

// LifeOf returns the life of a token at a given time; limit bounds it unless it is zero.
func LifeOf(token *fleet.ClusterRegistrationToken, limit time.Duration, now time.Time) Life {
	var ttl time.Duration
	if token.Spec.TTL != nil {
		ttl = token.Spec.TTL.Duration
	}
	if limit > 0 && (ttl <= 0 || ttl > limit) {
		ttl = limit
	}
	if ttl <= 0 {
		return Life{}
	}
	ends := token.CreationTimestamp.Add(ttl)
	return Life{Ends: ends, Over: !now.Before(ends)}
}
