package status

import (
	"strings"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Reasons of conditions that roll-ups set.
const (
	reasonReady   = "Ready"
	reasonInvalid = "Invalid"
)

// Bounds of what a status holds.
const (
	maxNonReady  = 10
	maxNames     = 10
	maxLines     = 4
	maxMessage   = 4096
	maxItem      = 512
	maxName      = 253
	maxClusters  = 50
	maxResources = 500
)

// DeploymentState returns the state of one deployment. The first that holds
// counts: not what is asked for, not ready, not what is staged, modified.
func DeploymentState(bd *fleet.BundleDeployment) fleet.BundleState {
	switch {
	case !bd.Applied() || bd.Spec.DeploymentID == "":
		if c := Get(bd.Status.Conditions, fleet.ConditionDeployed); c != nil && c.Status == metav1.ConditionFalse {
			return fleet.ErrApplied
		}
		return fleet.WaitApplied
	case !bd.Status.Ready:
		return fleet.NotReady
	case bd.Spec.DeploymentID != bd.Spec.StagedDeploymentID:
		return fleet.OutOfSync
	case !bd.Status.NonModified:
		return fleet.Modified
	}
	return fleet.Ready
}

// Rank orders states: the higher, the worse.
func Rank(state fleet.BundleState) int {
	switch state {
	case fleet.ErrApplied:
		return rankErrApplied
	case fleet.WaitApplied, fleet.WaitingForDependency:
		return rankWaitApplied
	case fleet.Modified:
		return rankModified
	case fleet.OutOfSync:
		return rankOutOfSync
	case fleet.Pending:
		return rankPending
	case fleet.NotReady:
		return rankNotReady
	case fleet.Unknown:
		return rankUnknown
	case fleet.Ready:
		return rankReady
	}
	return 0
}

// Ranks of states; 0 is that of words that are no states.
const (
	rankReady = 1 + iota
	rankUnknown
	rankNotReady
	rankPending
	rankOutOfSync
	rankModified
	rankWaitApplied
	rankErrApplied
	// ranks is how many there are.
	ranks
)

// stateOfRank is the inverse of Rank for the states of deployments.
func stateOfRank(rank int) fleet.BundleState {
	switch rank {
	case rankErrApplied:
		return fleet.ErrApplied
	case rankWaitApplied:
		return fleet.WaitApplied
	case rankModified:
		return fleet.Modified
	case rankOutOfSync:
		return fleet.OutOfSync
	case rankPending:
		return fleet.Pending
	case rankNotReady:
		return fleet.NotReady
	case rankUnknown:
		return fleet.Unknown
	case rankReady:
		return fleet.Ready
	}
	return ""
}

// rankOfState is Rank in the width that is kept for each deployment.
func rankOfState(state fleet.BundleState) uint8 {
	return uint8(Rank(state))
}

// Worst returns the worse of two states.
func Worst(a, b fleet.BundleState) fleet.BundleState {
	if Rank(b) > Rank(a) {
		return b
	}
	return a
}

// DeploymentMessage returns what the agent says is wrong with the deployment.
func DeploymentMessage(bd *fleet.BundleDeployment) string {
	return complaint(bd, fleet.ConditionDeployed, fleet.ConditionMonitored)
}

// DeploymentTrouble returns what an agent says of a deployment that is not
// ready, what is not ready included.
func DeploymentTrouble(bd *fleet.BundleDeployment) string {
	return complaint(bd, fleet.ConditionDeployed, fleet.ConditionReady, fleet.ConditionMonitored)
}

// complaint returns the message of the first of the conditions that is False.
func complaint(bd *fleet.BundleDeployment, kinds ...string) string {
	for _, kind := range kinds {
		if c := Get(bd.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			return clean(c.Message, maxItem)
		}
	}
	return ""
}

// clean makes a text that others wrote fit to show: one line, no control
// characters, visible or not, and at most limit bytes, with an ellipsis where
// it was cut.
func clean(text string, limit int) string {
	// A text that is far too long is not worth looking at as a whole.
	if longest := 4 * limit; len(text) > longest {
		text = text[:longest]
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
