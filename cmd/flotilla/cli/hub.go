package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// hubFlags say which hub is asked, as whom, and about which workspace: the
// flags of kubectl.
type hubFlags struct{ *genericclioptions.ConfigFlags }

// addHubFlags adds the flags of kubectl to a command. Those that hardly anybody
// needs work, but are not shown.
func addHubFlags(cmd *cobra.Command) hubFlags {
	f := hubFlags{genericclioptions.NewConfigFlags(false)}
	f.CacheDir = nil // nothing is discovered
	flags := cmd.PersistentFlags()
	f.AddFlags(flags)
	for _, name := range []string{
		"as-uid", "as-user-extra", "certificate-authority", "client-certificate", "client-key", "cluster", "disable-compression",
		"insecure-skip-tls-verify", "server", "tls-server-name", "token", "user",
	} {
		if err := flags.MarkHidden(name); err != nil {
			panic(err) // kubectl's flags are those of the pinned version
		}
	}
	flags.Lookup("namespace").Usage = "workspace: the namespace of the GitRepos, Bundles and Clusters (default: that of the context)"
	flags.Lookup("kubeconfig").Usage = "path of the kubeconfig file of the hub"
	return f
}

// session is a hub that is being asked.
type session struct {
	*kube.Hub
	// namespace is the workspace that is asked about.
	namespace string
	config    *rest.Config
}

// open prepares the clients; nothing is asked yet.
func (f hubFlags) open() (*session, error) {
	config, err := f.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the hub: %w: give --kubeconfig or --context", err)
	}
	namespace, _, err := f.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("finding the workspace: %w: give --namespace", err)
	}
	s := &session{namespace: namespace, config: config}
	if s.Hub, err = connect(config, kube.Options{}); err != nil {
		return nil, err
	}
	return s, nil
}

func connect(config *rest.Config, o kube.Options) (*kube.Hub, error) {
	o.UserAgent = "flotilla"
	conn, err := kube.Connect(config, o)
	if err != nil {
		return nil, fmt.Errorf("connecting to the hub: %w", err)
	}
	return kube.NewHub(conn), nil
}

// explain adds to an error of the hub what to do about it.
func (s *session) explain(err error) error {
	var dial *net.OpError
	var failed *url.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: the hub at %s does not accept your credentials: log in again, or give another --context", err, s.config.Host)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: ask whoever runs the hub for that right, or give another --context or --namespace", err)
	case errors.As(err, &dial), errors.As(err, &failed), clientcmd.IsEmptyConfig(err):
		return fmt.Errorf("%w: the hub at %s is not reached: check --kubeconfig and --context", err, s.config.Host)
	}
	return err
}

// absent explains why there is no object of that name. Where the kind itself is
// not served, it is not a hub that was asked.
func (s *session) absent(err error, ref reference) error {
	switch {
	case kube.IsGone(err, ref.name):
		return fmt.Errorf("there is no %s %q in namespace %s: correct the name, or name its workspace with --namespace", ref.kind, ref.name, s.namespace)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the cluster at %s is not a hub, it does not serve %s: give another --kubeconfig or --context", s.config.Host, fleet.SchemeGroupVersion)
	}
	return s.explain(fmt.Errorf("reading %s: %w", ref, err))
}

// listed explains why a list could not be read.
func (s *session) listed(what string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("the cluster at %s is not a hub, it does not serve %s: give another --kubeconfig or --context", s.config.Host, fleet.SchemeGroupVersion)
	}
	return s.explain(fmt.Errorf("listing %s: %w", what, err))
}

// all reads all objects of a kind in a namespace, or of the whole hub.
func all[T kube.Object, L runtime.Object](ctx context.Context, k *kube.Kind[T, L], namespace string, selector labels.Selector) ([]T, error) {
	list, err := k.List(ctx, namespace, selector)
	if err != nil {
		return nil, err
	}
	var found []T
	err = meta.EachListItem(list, func(item runtime.Object) error {
		o, ok := item.(T)
		if !ok {
			return fmt.Errorf("a list of %s holds a %T", k.Resource.Plural, item)
		}
		found = append(found, o)
		return nil
	})
	return found, err
}
