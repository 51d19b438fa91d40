package release

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// NamespaceOptions say what is to be done about the namespace of a release.
type NamespaceOptions struct {
	// Create says that the namespace is to be made if it does not exist.
	Create bool
	// Labels and Annotations are set on the namespace; others go, but for those of Kubernetes itself. Nil leaves all
	// as they are.
	Labels, Annotations map[string]string
	// Allowed, if set, must match the labels of the namespace.
	Allowed *metav1.LabelSelector
}

// namespaces sees to the namespaces of releases. It looks as the agent, and
// writes as the release's service account: who may not write namespaces can
// still use one that exists.
type namespaces struct{ look, write kubernetes.Interface }

// ensure makes the namespace as the options ask.
func (n namespaces) ensure(ctx context.Context, name string, opts NamespaceOptions) error {
	namespace, err := n.look.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return n.create(ctx, name, opts)
	case err != nil:
		return fmt.Errorf("reading namespace %s: %w", name, err)
	case namespace.DeletionTimestamp != nil:
		return fmt.Errorf("namespace %s is being deleted", name)
	}
	if err := checkAllowed(namespace, opts.Allowed); err != nil {
		return err
	}
	return n.mark(ctx, namespace, opts)
}

func (n namespaces) create(ctx context.Context, name string, opts NamespaceOptions) error {
	if !opts.Create {
		return fmt.Errorf("namespace %s does not exist, and createNamespace is false: create it, or allow it to be created", name)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: maps.Clone(opts.Labels), Annotations: maps.Clone(opts.Annotations),
	}}
	if err := checkAllowed(namespace, opts.Allowed); err != nil {
		return err
	}
	_, err := n.write.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}

func checkAllowed(namespace *corev1.Namespace, allowed *metav1.LabelSelector) error {
	if allowed == nil {
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed)
	if err != nil {
		return fmt.Errorf("reading allowedTargetNamespaceSelector: %w", err)
	}
	if !selector.Matches(labels.Set(namespace.Labels)) {
		return fmt.Errorf("namespace %s does not match allowedTargetNamespaceSelector", namespace.Name)
	}
	return nil
}

// mark writes the labels and annotations that are asked for, if they are not
// there yet.
func (n namespaces) mark(ctx context.Context, namespace *corev1.Namespace, opts NamespaceOptions) error {
	changes := map[string]any{}
	if change := difference(namespace.Labels, opts.Labels, reservedLabel); len(change) > 0 {
		changes["labels"] = change
	}
	if change := difference(namespace.Annotations, opts.Annotations, reservedAnnotation); len(change) > 0 {
		changes["annotations"] = change
	}
	if len(changes) == 0 {
		return nil
	}
	changes["resourceVersion"] = namespace.ResourceVersion
	patch, err := json.Marshal(map[string]any{"metadata": changes})
	if err != nil {
		return fmt.Errorf("encoding marks of namespace %s: %w", namespace.Name, err)
	}
	_, err = n.write.CoreV1().Namespaces().Patch(ctx, namespace.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("writing labels and annotations of namespace %s: %w", namespace.Name, err)
	}
	return nil
}

// difference returns a merge patch that makes have the same as want, leaving
// reserved keys that want does not name. A nil want changes nothing.
func difference(have, want map[string]string, reserved func(string) bool) map[string]any {
	if want == nil {
		return nil
	}
	change := map[string]any{}
	for key, value := range want {
		if current, ok := have[key]; !ok || current != value {
			change[key] = value
		}
	}
	for key := range have {
		if _, wanted := want[key]; !wanted && !reserved(key) {
			change[key] = nil
		}
	}
	return change
}

func reservedLabel(key string) bool {
	return key == corev1.LabelMetadataName || strings.HasPrefix(key, "pod-security.kubernetes.io/")
}

func reservedAnnotation(key string) bool {
	domain, _, ok := strings.Cut(key, "/")
	return ok && (strings.HasSuffix(domain, "kubernetes.io") || strings.HasSuffix(domain, "k8s.io") || strings.HasSuffix(domain, "openshift.io"))
}
