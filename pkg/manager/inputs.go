package manager

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/kube/lookup"
	"github.com/flotilla-gitops/flotilla/pkg/manager/webhooks"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// inputs are what users write beside Fleet's kinds. Every replica reads them,
// whether it leads or not.
type inputs struct {
	secrets    *lookup.Lookup[*corev1.Secret]
	joinTokens *lookup.Lookup[*corev1.Secret]
	knownHosts *lookup.Lookup[*corev1.ConfigMap]
	configMaps *lookup.Lookup[*corev1.ConfigMap]
}

func newInputs(conn *kube.Connection, namespace string) (*inputs, error) {
	secrets, err := lookup.Secrets(conn)
	if err != nil {
		return nil, fmt.Errorf("preparing to read secrets: %w", err)
	}
	joinTokens, err := lookup.JoinTokens(conn)
	if err != nil {
		return nil, fmt.Errorf("preparing to watch join tokens: %w", err)
	}
	knownHosts, err := lookup.ConfigMap(conn, kube.Key{Namespace: namespace, Name: names.ConfigMapKnownHosts})
	if err != nil {
		return nil, fmt.Errorf("preparing to read known hosts: %w", err)
	}
	configMaps, err := lookup.ConfigMaps(conn)
	if err != nil {
		return nil, fmt.Errorf("preparing to read config maps: %w", err)
	}
	return &inputs{secrets, joinTokens, knownHosts, configMaps}, nil
}

// run keeps them up to date until ctx ends.
func (i *inputs) run(ctx context.Context) error {
	var running errgroup.Group
	running.Go(func() error { return i.secrets.Run(ctx) })
	running.Go(func() error { return i.joinTokens.Run(ctx) })
	running.Go(func() error { return i.knownHosts.Run(ctx) })
	running.Go(func() error { return i.configMaps.Run(ctx) })
	return running.Wait()
}

// receive takes deliveries of Git hosts until ctx ends.
func (m *process) receive(ctx context.Context) error {
	conn, err := kube.Connect(m.Hub, kube.Options{
		UserAgent: "flotilla-manager-webhooks", LongestReconnect: longestReconnect, Log: m.log,
	})
	if err != nil {
		return fmt.Errorf("connecting to the hub: %w", err)
	}
	receiver := webhooks.New(webhooks.Deps{
		Conn: conn, Secrets: m.inputs.secrets, Secret: kube.Key{Namespace: m.Namespace, Name: names.SecretWebhook},
		AllowUnsigned: m.UnsignedWebhooks, Log: m.log, Clock: clock.RealClock{},
		Count: func(provider, result string) { m.metrics.webhooks.WithLabelValues(provider, result).Inc() },
	})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return conn.Start(ctx) })
	group.Go(func() error {
		const limit = 10 * time.Second
		return serve(ctx, m.WebhookAddress, &http.Server{
			Handler: receiver, MaxHeaderBytes: 64 << 10, ReadHeaderTimeout: headerTimeout, ReadTimeout: limit, WriteTimeout: 2 * limit, IdleTimeout: time.Minute,
		})
	})
	return group.Wait()
}
