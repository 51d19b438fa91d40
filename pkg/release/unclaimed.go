package release

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	helmrelease "helm.sh/helm/v3/pkg/release"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Origin is what the record of a release itself says about how it was made.
type Origin struct {
	// Deployment is the full name of the deployment.
	Deployment string
	// ServiceAccount that it was installed as; empty for the agent itself.
	ServiceAccount string
}

// OriginOf reads the origin of a release from the revision that record names.
// It fails if that is not the record of a release that this agent made.
func (m *Manager) OriginOf(ctx context.Context, record Record) (Origin, error) {
	stored, err := guarded(func() (*helmrelease.Release, error) {
		store := newStorage(ctx, m.self.client.CoreV1().Secrets(record.Key.Namespace))
		return store.Get(record.Key.Name, record.Revision)
	})
	if err != nil {
		return Origin{}, fmt.Errorf("reading record of release %s: %w", record.Key, err)
	}
	var said map[string]string
	if stored.Chart != nil && stored.Chart.Metadata != nil {
		said = stored.Chart.Metadata.Annotations
	}
	origin := Origin{Deployment: said[names.AnnotationBundleID], ServiceAccount: said[names.AnnotationServiceAccount]}
	if origin.Deployment == "" || DeploymentLabel(origin.Deployment) != record.Deployment || record.Agent != m.agent {
		return Origin{}, fmt.Errorf("the record of release %s does not say the same as its labels: remove it with helm uninstall", record.Key)
	}
	return origin, nil
}

// Unwish takes a person's word off a release that is claimed: it was not meant
// for the day on which nothing claims it any more.
func (m *Manager) Unwish(ctx context.Context, record Record) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{names.AnnotationUnclaimed: nil}}})
	if err != nil {
		return fmt.Errorf("encoding annotations: %w", err)
	}
	_, err = m.self.client.CoreV1().Secrets(record.Key.Namespace).
		Patch(ctx, recordName(record.Key.Name, record.Revision), types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("taking annotation %s off release %s: %w", names.AnnotationUnclaimed, record.Key, err)
	}
	return nil
}

// Forget takes the labels of this agent off all revisions of a release, the
// newest last: what is left is a plain Helm release.
func (m *Manager) Forget(ctx context.Context, record Record) error {
	unlock, err := m.locks.lock(ctx, record.Key)
	if err != nil {
		return err
	}
	defer unlock()
	found, err := m.history(ctx, record.Key)
	if err != nil {
		return err
	}
	labels := map[string]any{}
	for label := range labelsFor(Owner{}, "") {
		labels[label] = nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels": labels, "annotations": map[string]any{names.AnnotationUnclaimed: nil},
	}})
	if err != nil {
		return fmt.Errorf("encoding labels: %w", err)
	}
	for _, revision := range found {
		_, err := m.self.client.CoreV1().Secrets(record.Key.Namespace).
			Patch(ctx, recordName(record.Key.Name, revision.Version), types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("giving up release %s: %w", record.Key, err)
		}
	}
	m.log.WithFields(logrus.Fields{
		"deployment": record.Deployment, "namespace": record.Key.Namespace, "release": record.Key.Name,
	}).Info("Release is given up, and is a plain Helm release")
	return nil
}
