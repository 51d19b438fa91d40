package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// Options says what an Environment needs.
type Options struct {
	// Workloads adds what makes pods of Deployments and runs them (as far as kwok does), for tests of agents. Without it there
	// is an API server with a controller manager, which is what ends namespaces.
	Workloads bool
	// Manager runs one manager for all tests of the package, so that they can run in parallel. Its log is in the environment's
	// folder.
	Manager bool
	// Bare leaves the CRDs to the test.
	Bare bool
}

// Environment is a real control plane with Flotilla's CRDs, and what a test needs to act on it.
type Environment struct {
	// ControlPlane is there for tests that stop, kill and start its components.
	ControlPlane *controlplane.Cluster
	// Config reaches its API server with all rights.
	Config *rest.Config
	// Connection has a client for the built-in kinds.
	*kube.Connection

	GitRepos                Kind[*fleet.GitRepo, *fleet.GitRepoList]
	HelmOps                 Kind[*fleet.HelmOp, *fleet.HelmOpList]
	Bundles                 Kind[*fleet.Bundle, *fleet.BundleList]
	BundleDeployments       Kind[*fleet.BundleDeployment, *fleet.BundleDeploymentList]
	Contents                Kind[*fleet.Content, *fleet.ContentList]
	Clusters                Kind[*fleet.Cluster, *fleet.ClusterList]
	ClusterGroups           Kind[*fleet.ClusterGroup, *fleet.ClusterGroupList]
	BundleNamespaceMappings Kind[*fleet.BundleNamespaceMapping, *fleet.BundleNamespaceMappingList]
	GitRepoRestrictions     Kind[*fleet.GitRepoRestriction, *fleet.GitRepoRestrictionList]
	ClusterRegistrations    Kind[*fleet.ClusterRegistration, *fleet.ClusterRegistrationList]

	ClusterRegistrationTokens Kind[*fleet.ClusterRegistrationToken, *fleet.ClusterRegistrationTokenList]

	Policies   Kind[*fleet.Policy, *fleet.PolicyList]
	Namespaces Kind[*corev1.Namespace, *corev1.NamespaceList]
	Secrets    Kind[*corev1.Secret, *corev1.SecretList]
	Leases     Kind[*coordinationv1.Lease, *coordinationv1.LeaseList]

	dir string
	// managed is held while a manager runs, inhabited while an agent does.
	managed, inhabited sync.Mutex
	// shared is the manager of Options.Manager.
	shared *Manager
}

// Run is what TestMain of a test package calls: it starts an Environment, hands it to use, runs the tests and stops it. It returns
// the exit code. When a test failed, the logs of the control plane stay and their folder is named.
//
//	var env *harness.Environment
//
//	func TestMain(m *testing.M) {
//		os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
//	}
func Run(m *testing.M, options Options, use func(*Environment)) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	env, err := Start(ctx, options)
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the environment of the tests:", err)
		return 1
	}
	use(env)
	code := m.Run()
	if err := env.Stop(code == 0); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the environment of the tests:", err)
		return 1
	}
	return code
}

// Start starts a control plane of its own, with the CRDs, in a temporary folder. It takes seconds, once the binaries are built.
func Start(ctx context.Context, options Options) (*Environment, error) {
	dir, err := os.MkdirTemp("", "flotilla-test-")
	if err != nil {
		return nil, fmt.Errorf("making folder: %w", err)
	}
	components := []controlplane.Component{controlplane.ControllerManager}
	if options.Workloads {
		components = append(components, controlplane.Scheduler, controlplane.Kwok)
	}
	cluster, err := controlplane.Start(ctx, controlplane.Options{
		Name: "hub", Dir: filepath.Join(dir, "hub"), Components: components, Progress: os.Stderr,
	})
	if err != nil {
		return nil, err
	}
	env, err := connect(cluster)
	if err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	env.dir = dir
	if err := env.prepare(ctx, options); err != nil {
		return nil, errors.Join(err, env.Stop(false))
	}
	return env, nil
}

func (e *Environment) prepare(ctx context.Context, options Options) error {
	if options.Bare {
		return nil
	}
	if err := InstallCRDs(ctx, e.Config); err != nil {
		return err
	}
	if !options.Manager {
		return nil
	}
	logFile, err := os.Create(filepath.Join(e.dir, "manager.log"))
	if err != nil {
		return fmt.Errorf("making log file: %w", err)
	}
	log := logrus.New()
	log.SetOutput(logFile)
	log.SetLevel(logrus.DebugLevel)
	e.managed.Lock()
	e.shared = &Manager{config: e.managerConfig(filepath.Join(e.dir, "manager")), log: log}
	e.shared.Start()
	return nil
}

// Stop ends what runs and, unless its logs are of interest, removes its folder.
func (e *Environment) Stop(clean bool) error {
	var err error
	if e.shared != nil {
		err = e.shared.run.stop()
	}
	err = errors.Join(err, e.ControlPlane.Stop())
	if !clean || err != nil {
		fmt.Fprintln(os.Stderr, "logs are in", e.dir)
		return err
	}
	return os.RemoveAll(e.dir)
}

func connect(cluster *controlplane.Cluster) (*Environment, error) {
	config, err := cluster.RESTConfig()
	if err != nil {
		return nil, err
	}
	// A test that lists everything would mostly wait for its own client.
	config.QPS = -1
	conn, err := kube.Connect(config, kube.Options{UserAgent: "integrationtests"})
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", cluster.Name(), err)
	}
	hub := kube.NewHub(conn)
	return &Environment{
		ControlPlane: cluster, Config: config, Connection: conn,
		GitRepos:                of(hub.GitRepos, conn),
		HelmOps:                 of(hub.HelmOps, conn),
		Bundles:                 of(hub.Bundles, conn),
		BundleDeployments:       of(hub.BundleDeployments, conn),
		Contents:                of(hub.Contents, conn),
		Clusters:                of(hub.Clusters, conn),
		ClusterGroups:           of(hub.ClusterGroups, conn),
		BundleNamespaceMappings: of(hub.BundleNamespaceMappings, conn),
		GitRepoRestrictions:     of(hub.GitRepoRestrictions, conn),
		ClusterRegistrations:    of(hub.ClusterRegistrations, conn),

		ClusterRegistrationTokens: of(hub.ClusterRegistrationTokens, conn),

		Policies:   of(hub.Policies, conn),
		Namespaces: of(hub.Namespaces, conn),
		Secrets:    of(hub.Secrets, conn),
		Leases:     of(hub.Leases, conn),
	}, nil
}

func of[T kube.Object, L runtime.Object](kind *kube.Kind[T, L], conn *kube.Connection) Kind[T, L] {
	return Kind[T, L]{Kind: kind, conn: conn}
}
