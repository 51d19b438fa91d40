package release

import (
	"context"
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// getter gives Helm its clients. It takes everything from what it is made of:
// no kubeconfig, environment variable or home directory is read.
type getter struct {
	config    *rest.Config
	cluster   *cluster
	namespace string
}

var _ genericclioptions.RESTClientGetter = (*getter)(nil)

func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.cluster.cached, nil
}

func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.cluster, nil }

func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}

// boundTo returns a copy of config whose requests all end with ctx. Helm makes
// its requests without a context; this is how it gets one.
func boundTo(ctx context.Context, config *rest.Config) *rest.Config {
	bound := rest.CopyConfig(config)
	bound.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &boundTransport{ctx: ctx, next: next}
	})
	return bound
}

type boundTransport struct {
	ctx  context.Context
	next http.RoundTripper
}

var _ utilnet.RoundTripperWrapper = (*boundTransport)(nil)

func (t *boundTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *boundTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	release := func() { stop(); cancel(nil) }
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		release()
		return nil, err
	}
	resp.Body = &boundBody{ReadCloser: resp.Body, release: release}
	return resp, nil
}

// boundBody lets go of the contexts of a request once its answer is read.
type boundBody struct {
	io.ReadCloser
	release func()
}

func (b *boundBody) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}
