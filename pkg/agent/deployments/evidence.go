package deployments

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// Presence is how an object of the hub answered when asked for.
type Presence string

const (
	// Absent: the hub says that there is no such object.
	Absent Presence = "absent"
	// Terminating: the object is there and marked for deletion.
	Terminating Presence = "terminating"
	// Present: the object is there to stay.
	Present Presence = "present"
)

// Evidence is what the hub answered, live, when a removal was due. An answer
// that did not come makes no Evidence at all.
type Evidence struct {
	// Deployment is how the deployment answered, and UID which one it was.
	Deployment Presence
	UID        types.UID
	// Cluster, Namespace and Kind are how the Cluster that the agent acts for, its namespace on the hub and the
	// definition of BundleDeployments answered.
	Cluster, Namespace, Kind Presence
}

// Forbids returns why a release that belongs to the deployment with the given
// UID must not be removed; it is empty if it may be.
func (e Evidence) Forbids(owner types.UID) string {
	switch {
	case e.Kind != Present:
		return fmt.Sprintf("the definition of BundleDeployments is %s on the hub", e.Kind)
	case e.Namespace != Present:
		return fmt.Sprintf("the cluster's namespace is %s on the hub", e.Namespace)
	case e.Cluster != Present:
		return fmt.Sprintf("the Cluster is %s on the hub", e.Cluster)
	case e.Deployment == Absent:
		return "the deployment is absent on the hub, which is no reason to remove what it asked for"
	case e.Deployment != Terminating:
		return "the deployment is not marked for deletion"
	case owner == "" || e.UID != owner:
		return "the release was made for an earlier deployment of the same name"
	}
	return ""
}
