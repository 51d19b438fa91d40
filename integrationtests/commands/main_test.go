// Package commands tests the commands of flotilla that ask a hub: with a real
// hub and the real manager, through the command line and its exit codes. Agents
// are played by the tests.
package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/cli"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{Manager: true}, func(e *harness.Environment) { env = e }))
}

// answered is what a command wrote, and its exit code.
type answered struct {
	out, err string
	code     int
}

// flotilla runs the command line against the hub.
func flotilla(t *testing.T, args ...string) answered {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), cli.Options{
		Args: append(slices.Clone(args), "--kubeconfig", env.ControlPlane.Kubeconfig()), In: strings.NewReader(""), Out: &stdout, Err: &stderr,
	})
	return answered{stdout.String(), stderr.String(), code}
}

// mustBe fails the test unless the exit code is this one.
func (a answered) mustBe(t *testing.T, code int) answered {
	t.Helper()
	if a.code != code {
		t.Fatalf("exit code %d, want %d\nstandard output:\n%s\nstandard error:\n%s", a.code, code, a.out, a.err)
	}
	return a
}

// mustSay fails the test unless the output has all of these texts.
func (a answered) mustSay(t *testing.T, texts ...string) answered {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.out+a.err, text) {
			t.Errorf("it does not say %q\nstandard output:\n%s\nstandard error:\n%s", text, a.out, a.err)
		}
	}
	return a
}

func (a answered) json(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.out), into); err != nil {
		t.Fatalf("%v\n%s\n%s", err, a.out, a.err)
	}
}

// safe is a buffer that may be read while it is written to.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds to the buffer.
func (s *safe) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(data)
}

// String returns what was written so far.
func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
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

// agent makes the cluster one whose agent has reported.
func agent(t *testing.T, key kube.Key) {
	t.Helper()
	env.Clusters.EditStatus(t, key, func(c *fleet.Cluster) { c.Status.Agent.LastSeen = metav1.Now() })
}

// bundle makes a Bundle of one ConfigMap for the clusters that match the targets.
func bundle(t *testing.T, workspace, name string, edit func(*fleet.Bundle)) kube.Key {
	t.Helper()
	b := &fleet.Bundle{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: name}}
	b.Spec.Resources = []fleet.BundleResource{{Name: "a.yaml", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"}}
	b.Spec.Targets = []fleet.BundleTarget{{Name: "all", ClusterSelector: &metav1.LabelSelector{}}}
	if edit != nil {
		edit(b)
	}
	return harness.KeyOf(env.Bundles.Make(t, b))
}

func inEnv(value string) fleet.BundleTarget {
	return fleet.BundleTarget{Name: value, ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": value}}}
}

// deployment is the key of a bundle's deployment on a cluster.
func deployment(bundle, cluster kube.Key) kube.Key {
	return kube.Key{Namespace: names.ClusterNamespace(cluster.Namespace, cluster.Name), Name: bundle.Name}
}

// deployedOn returns the clusters ("namespace/name") on which the bundle has a
// deployment that is not being removed.
func deployedOn(t *testing.T, bundle kube.Key) []string {
	t.Helper()
	on := []string{}
	for _, bd := range env.BundleDeployments.All(t, "", labels.Set{
		names.LabelBundleName: bundle.Name, names.LabelBundleNamespace: bundle.Namespace,
	}).Items {
		if bd.DeletionTimestamp == nil {
			on = append(on, kube.ClusterOf(&bd).String())
		}
	}
	slices.Sort(on)
	return on
}

// awaitOn waits until the bundle is on exactly these clusters.
func awaitOn(t *testing.T, bundle kube.Key, clusters ...string) {
	t.Helper()
	slices.Sort(clusters)
	harness.Eventually(t, "bundle "+bundle.String()+" is on "+strings.Join(clusters, ","), func(context.Context) error {
		if on := deployedOn(t, bundle); !slices.Equal(on, clusters) {
			return errors.New("it is on " + strings.Join(on, ","))
		}
		return nil
	})
}

// report has the agent of a cluster report that the bundle's deployment is as
// it should be.
func report(t *testing.T, bundle, cluster kube.Key) {
	t.Helper()
	env.BundleDeployments.EditStatus(t, deployment(bundle, cluster), func(bd *fleet.BundleDeployment) {
		bd.Status.AppliedDeploymentID = bd.Spec.DeploymentID
		bd.Status.Ready, bd.Status.NonModified = true, true
	})
}
