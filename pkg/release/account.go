package release

import (
	"errors"
	"fmt"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// ErrNoAccount says that a release was to be handled as the agent itself,
// which is not allowed.
var ErrNoAccount = errors.New("no service account to act as, and the agent must not act as itself")

// Itself stands for the agent itself as the account of what only the hub makes:
// unlike no account at all, it is never refused.
const Itself = "-"

// actor is somebody on whose behalf requests are made.
type actor struct {
	config   *rest.Config
	client   kubernetes.Interface
	metadata metadata.Interface
	dynamic  dynamic.Interface
}

func newActor(config *rest.Config) (*actor, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making metadata client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making dynamic client: %w", err)
	}
	return &actor{config: config, client: client, metadata: meta, dynamic: dyn}, nil
}

// handler returns the actor that a release is handled as. It fails with
// ErrNoAccount where that would be the agent itself and must not be.
func (m *Manager) handler(serviceAccount string) (*actor, error) {
	if serviceAccount == "" && m.requireAccount {
		return nil, ErrNoAccount
	}
	return m.as(serviceAccount)
}

// as returns the actor for a service account of the agent's namespace; the
// empty name and Itself are the agent itself.
func (m *Manager) as(serviceAccount string) (*actor, error) {
	if serviceAccount == "" || serviceAccount == Itself {
		return m.self, nil
	}
	if wrong := apivalidation.ValidateServiceAccountName(serviceAccount, false); len(wrong) > 0 {
		return nil, fmt.Errorf("serviceAccount %q cannot be the name of a service account: %s", serviceAccount, strings.Join(wrong, "; "))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.actors[serviceAccount]; ok {
		return known, nil
	}
	config := rest.CopyConfig(m.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: fmt.Sprintf("system:serviceaccount:%s:%s", m.agent, serviceAccount),
	}
	made, err := newActor(config)
	if err != nil {
		return nil, err
	}
	m.actors[serviceAccount] = made
	return made, nil
}

// ClientAs returns a client that acts as a service account of the agent's
// namespace; the empty name is the agent itself.
func (m *Manager) ClientAs(serviceAccount string) (kubernetes.Interface, error) {
	act, err := m.as(serviceAccount)
	if err != nil {
		return nil, err
	}
	return act.client, nil
}
