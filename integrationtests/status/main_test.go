// Package status tests that what the hub says of its objects is what counting them anew says: after storms of changes, for
// clusters whose agents are away, with few writes, and after writes and events that were lost. Agents are played by the tests.
package status

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

type ctx = context.Context

var errNotYet = errors.New("not yet")

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

// metrics is where a manager tells what it counts.
type metrics struct{ address string }

// serve has the manager serve its metrics.
func serve(t *testing.T, config *manager.Config) metrics {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config.MetricsAddress = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return metrics{config.MetricsAddress}
}

// read returns a counter, summed up over its labels.
func (m metrics) read(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(string(data)) {
		labels, ok := strings.CutPrefix(line, name)
		if !ok || labels[0] != '{' && labels[0] != ' ' {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(labels[strings.LastIndexByte(labels, ' '):]), 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", name, err)
		}
		sum, found = sum+value, true
	}
	if !found {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return sum, nil
}

func (m metrics) await(t *testing.T, name string, atLeast float64) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("%s is at least %v", name, atLeast), func(ctx context.Context) error {
		got, err := m.read(ctx, name)
		if err == nil && got < atLeast {
			err = fmt.Errorf("it is %v", got)
		}
		return err
	})
}

func (m metrics) want(t *testing.T, name string, want float64) {
	t.Helper()
	if got, err := m.read(t.Context(), name); err != nil || got != want {
		t.Errorf("%s is %v (%v), want %v", name, got, err, want)
	}
}

// cluster makes a Cluster and waits until it has its place.
func cluster(t *testing.T, workspace, name string, labels map[string]string) kube.Key {
	t.Helper()
	key := harness.KeyOf(env.Clusters.Make(t, harness.NewCluster(workspace, name, labels)))
	env.Clusters.Await(t, key, func(c *fleet.Cluster) error {
		if c.Status.Namespace == "" {
			return errors.New("it has no namespace yet")
		}
		return nil
	})
	return key
}

// announced makes the cluster one whose agent has reported.
func announced(t *testing.T, key kube.Key) {
	t.Helper()
	env.Clusters.EditStatus(t, key, func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.Now() })
}

// bundle makes a Bundle of one ConfigMap for all clusters of the workspace.
func bundle(t *testing.T, workspace, name string) kube.Key {
	t.Helper()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}}
	b.Spec.Resources = []fleet.BundleResource{{Name: "configmap.yaml", Content: configMap(name)}}
	b.Spec.Targets = []fleet.BundleTarget{{Name: "all", ClusterSelector: &metav1.LabelSelector{}}}
	return harness.KeyOf(env.Bundles.Make(t, b))
}

// folders are the files of a repository with a bundle in each folder.
func folders(names ...string) map[string]string {
	files := map[string]string{}
	for _, name := range names {
		files[name+"/fleet.yaml"] = "namespace: " + name + "\n"
		files[name+"/configmap.yaml"] = configMap(name)
	}
	return files
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}

// deployment is the key of a bundle's deployment on a cluster.
func deployment(bundle, cluster kube.Key) kube.Key {
	return kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name), Name: bundle.Name}
}

// answer has the agent of the cluster report that what is asked for runs and is ready.
func answer(t *testing.T, bundle, cluster kube.Key) {
	t.Helper()
	key := deployment(bundle, cluster)
	env.BundleDeployments.Await(t, key, func(*fleet.BundleDeployment) error { return nil })
	env.BundleDeployments.EditStatus(t, key, ready)
}

func ready(bd *fleet.BundleDeployment) {
	bd.Status.AppliedDeploymentID, bd.Status.Ready, bd.Status.NonModified = bd.Spec.DeploymentID, true, true
	bd.Status.ResourceCounts = fleet.ResourceCounts{Ready: 1, DesiredReady: 1}
}

// awaitSummary waits until the bundle counts this many of all as ready and unknown.
func awaitSummary(t *testing.T, key kube.Key, ready, unknown, all int) *fleet.Bundle {
	t.Helper()
	return env.Bundles.Await(t, key, func(b *fleet.Bundle) error {
		if s := b.Status.Summary; s.Ready != ready || s.Unknown != unknown || s.DesiredReady != all {
			return fmt.Errorf("summary is %+v", s)
		}
		return nil
	})
}
