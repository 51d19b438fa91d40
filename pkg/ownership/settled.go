package ownership

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// criteria is the part of a target that decides which clusters it selects.
type criteria struct {
	Name          string                `json:"name,omitempty"`
	Group         string                `json:"group,omitempty"`
	Selector      *metav1.LabelSelector `json:"selector,omitempty"`
	GroupSelector *metav1.LabelSelector `json:"groupSelector,omitempty"`
	Not           bool                  `json:"not,omitempty"`
}

// TargetsDigest identifies which clusters the targets of a bundle ask for. It
// changes with an edit of a criterion, and stays as it is when options of a
// target change. It is a part of the wire format: see
// names.AnnotationSettledTargets.
func TargetsDigest(spec *fleet.BundleSpec) string {
	asked := struct {
		All          bool       `json:"all,omitempty"`
		Targets      []criteria `json:"targets,omitempty"`
		Restrictions []criteria `json:"restrictions,omitempty"`
	}{All: spec.TargetCustomizationMode == fleet.AllMatches}
	for i := range spec.Targets {
		t := &spec.Targets[i]
		asked.Targets = append(asked.Targets, criteria{t.ClusterName, t.ClusterGroup, t.ClusterSelector, t.ClusterGroupSelector, t.DoNotDeploy})
	}
	for i := range spec.TargetRestrictions {
		t := &spec.TargetRestrictions[i]
		asked.Restrictions = append(asked.Restrictions, criteria{t.ClusterName, t.ClusterGroup, t.ClusterSelector, t.ClusterGroupSelector, false})
	}
	data, err := json.Marshal(asked)
	if err != nil {
		// Texts and maps of texts can always be written down.
		panic(fmt.Sprintf("ownership: encoding targets: %v", err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
