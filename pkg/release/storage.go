package release

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// newStorage returns Helm's storage of releases in the Secrets of a namespace.
// It is never limited in length: what may be forgotten is decided by prunable,
// since a revision that Helm drops by count alone can be the only one that
// names an object.
func newStorage(ctx context.Context, secrets corev1client.SecretInterface) *storage.Storage {
	return storage.Init(driver.NewSecrets(&boundSecrets{SecretInterface: secrets, ctx: ctx}))
}

// boundSecrets is a client whose calls end with ctx, whatever context they are
// given: Helm's storage gives none.
type boundSecrets struct {
	corev1client.SecretInterface
	ctx context.Context
}

func (b *boundSecrets) Get(_ context.Context, name string, opts metav1.GetOptions) (*corev1.Secret, error) {
	return b.SecretInterface.Get(b.ctx, name, opts)
}

func (b *boundSecrets) List(_ context.Context, opts metav1.ListOptions) (*corev1.SecretList, error) {
	return b.SecretInterface.List(b.ctx, opts)
}

func (b *boundSecrets) Create(_ context.Context, secret *corev1.Secret, opts metav1.CreateOptions) (*corev1.Secret, error) {
	if err := fits(secret); err != nil {
		return nil, err
	}
	return b.SecretInterface.Create(b.ctx, secret, opts)
}

// fits fails if a record is larger than a Secret can be.
func fits(record *corev1.Secret) error {
	size := 0
	for _, value := range record.Data {
		size += len(value)
	}
	if size <= corev1.MaxSecretSize {
		return nil
	}
	return fmt.Errorf("the release is too large: its record, of all files and objects, has %d KiB when compressed, and a Secret holds %d KiB; "+
		"split the bundle into several, or leave out files that are not deployed", size>>10, corev1.MaxSecretSize>>10)
}

func (b *boundSecrets) Update(_ context.Context, secret *corev1.Secret, opts metav1.UpdateOptions) (*corev1.Secret, error) {
	return b.SecretInterface.Update(b.ctx, secret, opts)
}

func (b *boundSecrets) Delete(_ context.Context, name string, opts metav1.DeleteOptions) error {
	return b.SecretInterface.Delete(b.ctx, name, opts)
}

// annotatedSecrets is a client that sets an annotation on what it writes anew:
// Helm's storage leaves none.
type annotatedSecrets struct {
	corev1client.SecretInterface
	key, value string
}

func (a *annotatedSecrets) Update(ctx context.Context, secret *corev1.Secret, opts metav1.UpdateOptions) (*corev1.Secret, error) {
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, a.key, a.value)
	return a.SecretInterface.Update(ctx, secret, opts)
}
