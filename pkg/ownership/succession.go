package ownership

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// maxPredecessors is how many predecessors a deployment remembers. An agent
// that was away while its targets changed more often than that keeps what it
// has, unclaimed.
const maxPredecessors = 10

// Succession returns the value of AnnotationSucceeds for the deployment that
// takes the place of this one, now that this one is let go: whoever holds a
// release of this one, or of one before it, holds it for the successor. It is
// empty if the agent was asked to remove the release and may have begun.
func Succession(bd *fleet.BundleDeployment) string {
	c := removed(bd)
	if bd.DeletionTimestamp == nil || c != nil && (c.Status == "True" || c.Reason == fleet.ReasonUninstalling) {
		return ""
	}
	uids := append([]types.UID{bd.UID}, Predecessors(bd.Annotations)...)
	uids = uids[:min(len(uids), maxPredecessors)]
	text := make([]string, len(uids))
	for i, uid := range uids {
		text[i] = string(uid)
	}
	return strings.Join(text, ",")
}

// Predecessors returns the UIDs of the deployments that the one with these
// annotations has taken the place of, the newest first.
func Predecessors(annotations map[string]string) []types.UID {
	var uids []types.UID
	for uid := range strings.SplitSeq(annotations[names.AnnotationSucceeds], ",") {
		if uid = strings.TrimSpace(uid); uid != "" && len(uids) < maxPredecessors {
			uids = append(uids, types.UID(uid))
		}
	}
	return uids
}

// Succeeds says whether a release that was made for the deployment with the
// recorded UID belongs to the one with this UID and these annotations.
func Succeeds(uid types.UID, annotations map[string]string, recorded types.UID) bool {
	return recorded != "" && (recorded == uid || slices.Contains(Predecessors(annotations), recorded))
}
