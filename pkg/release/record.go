package release

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Key names a Helm release by namespace and name.
type Key = types.NamespacedName

// Status is Helm's word for how far a revision got.
type Status string

// Statuses of revisions that Helm writes.
const (
	StatusDeployed        Status = "deployed"
	StatusSuperseded      Status = "superseded"
	StatusFailed          Status = "failed"
	StatusUninstalling    Status = "uninstalling"
	StatusUninstalled     Status = "uninstalled"
	StatusPendingInstall  Status = "pending-install"
	StatusPendingUpgrade  Status = "pending-upgrade"
	StatusPendingRollback Status = "pending-rollback"
	StatusUnknown         Status = "unknown"
)

// unfinished says whether the status stands only while somebody works on the
// release, or was working when he was stopped. An uninstalled revision is one:
// its record goes when the last of its objects has.
func (s Status) unfinished() bool {
	switch s {
	case StatusPendingInstall, StatusPendingUpgrade, StatusPendingRollback, StatusUninstalling, StatusUninstalled, StatusUnknown:
		return true
	case StatusDeployed, StatusSuperseded, StatusFailed:
		return false
	}
	return false
}

// Record is one revision of a release, as the labels of its Secret tell.
type Record struct {
	// Key names the release.
	Key Key
	// Revision counts from 1.
	Revision int
	// Status is how far the revision got.
	Status Status
	// Deployment is the label form of the name of the deployment: see DeploymentLabel.
	Deployment string
	// UID of the deployment that the revision was made for, or that adopted it.
	UID types.UID
	// Hub is the identity of the hub of that deployment.
	Hub string
	// Agent is the namespace of the agent that made the revision.
	Agent string
	// Digest is the label form of what the revision was made from: see names.Fingerprint.
	Digest string
	// Wish is what a person said is to become of the release should nothing claim it: see names.AnnotationUnclaimed.
	Wish string
}

// Labels that Helm's storage writes on every record.
const (
	labelHelmOwner    = "owner"
	labelHelmName     = "name"
	labelHelmStatus   = "status"
	labelHelmRevision = "version"
	helmOwner         = "helm"
)

// RecordOf reads the record from the metadata of a Secret. It fails if the
// Secret holds no revision of a Helm release.
func RecordOf(meta metav1.Object) (Record, error) {
	record, err := recordFrom(meta.GetNamespace(), meta.GetLabels())
	if err != nil {
		return Record{}, fmt.Errorf("reading release record %s/%s: %w", meta.GetNamespace(), meta.GetName(), err)
	}
	record.Wish = meta.GetAnnotations()[names.AnnotationUnclaimed]
	return record, nil
}

func recordFrom(namespace string, labels map[string]string) (Record, error) {
	if labels[labelHelmOwner] != helmOwner || labels[labelHelmName] == "" {
		return Record{}, fmt.Errorf("it has not the labels of a Helm release")
	}
	revision, err := strconv.Atoi(labels[labelHelmRevision])
	if err != nil {
		return Record{}, fmt.Errorf("label %s is no number: %q", labelHelmRevision, labels[labelHelmRevision])
	}
	return Record{
		Key:        Key{Namespace: namespace, Name: labels[labelHelmName]},
		Revision:   revision,
		Status:     Status(labels[labelHelmStatus]),
		Deployment: labels[names.LabelDeployment],
		UID:        types.UID(labels[names.LabelDeploymentUID]),
		Hub:        labels[names.LabelHub],
		Agent:      labels[names.LabelReleaseAgent],
		Digest:     labels[names.LabelReleaseDigest],
	}, nil
}

// BelongsTo says whether the revision was made by owner's agent for a
// deployment of owner's name. UID and hub do not matter here: a deployment
// that was made anew takes over what its predecessor left.
func (r Record) BelongsTo(owner Owner) bool {
	return r.Deployment == DeploymentLabel(owner.Deployment) && r.Agent == owner.Agent
}

// InheritedBy says whether the revision was made for an earlier deployment of
// owner's name, and is owner's now.
func (r Record) InheritedBy(owner Owner) bool {
	return r.BelongsTo(owner) && (r.UID != owner.UID || r.Hub != owner.Hub)
}

// labelsFor returns the labels of ours on a record.
func labelsFor(owner Owner, digest string) map[string]string {
	return map[string]string{
		names.LabelDeployment:    DeploymentLabel(owner.Deployment),
		names.LabelDeploymentUID: string(owner.UID),
		names.LabelHub:           owner.Hub,
		names.LabelReleaseAgent:  owner.Agent,
		names.LabelReleaseDigest: digest,
	}
}

// DeploymentLabel returns the name of a deployment as a label value: as it is,
// or shortened with a hash.
func DeploymentLabel(deployment string) string { return names.SafeConcat(deployment) }

// Digest returns what a release is made from, names.Fingerprint, as a label value.
func Digest(fingerprint string) string {
	sum := sha256.Sum256([]byte(fingerprint))
	return hex.EncodeToString(sum[:16])
}
