package registrations

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/cli"
	"github.com/flotilla-gitops/flotilla/dev/charts"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// flotilla runs a command line against the hub.
func flotilla(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = cli.Run(t.Context(), cli.Options{
		Args: append(args, "--kubeconfig", env.ControlPlane.Kubeconfig()), In: strings.NewReader(""), Out: &stdout, Err: &stderr,
	})
	return stdout.String(), stderr.String(), code
}

// runAgent runs an agent in a cluster until the test ends.
func runAgent(t *testing.T, cluster *harness.Environment, namespace string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	log := harness.LogOf(t)
	go func() {
		defer close(ended)
		if err := agent.Run(ctx, agent.Config{Local: cluster.Config, Namespace: namespace, AtOnce: 2}, log); err != nil {
			log.WithError(err).Error("The agent ended")
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// A cluster of its own becomes ready, both ways: with the values of `flotilla join` and the chart of the agent, and with a
// kubeconfig.
func TestFromOneLineToReady(t *testing.T) {
	other, err := harness.Start(t.Context(), harness.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Stop(!t.Failed()); err != nil {
			t.Errorf("stopping the other cluster: %v", err)
		}
	})
	workspace := env.Workspace(t)

	started := time.Now()
	line, errs, code := flotilla(t, "join", "-n", workspace, "prod-1", "--label", "env=prod")
	if code != cli.ExitYes || strings.Count(line, "\n") != 1 {
		t.Fatalf("exit code %d, %q, %s", code, line, errs)
	}
	issued := time.Since(started)
	installChart(t, other, valuesOfLine(t, line))
	runAgent(t, other, names.NamespaceSystem)
	if _, errs, code := flotilla(t, "status", "-n", workspace, "cluster/prod-1", "--wait", "--timeout", "1m"); code != cli.ExitYes {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	t.Logf("with a token: the line after %s, ready after %s", issued.Round(time.Millisecond), time.Since(started).Round(time.Millisecond))
	cluster, err := env.Clusters.Get(t.Context(), workspace, "prod-1")
	if err != nil || cluster.Labels["env"] != "prod" || cluster.Status.Agent.LastSeen.IsZero() {
		t.Errorf("cluster %v: %v", cluster, err)
	}
	if _, errs, code := flotilla(t, "join", "-n", workspace, "prod-1"); code != cli.ExitError || !strings.Contains(errs, "--replace") {
		t.Errorf("joining again: exit code %d: %s", code, errs)
	}

	started = time.Now()
	imported := harness.NewCluster(workspace, "prod-2", nil)
	imported.Spec.AgentNamespace = "agent-of-prod-2"
	env.ImportCluster(t, imported, other)
	env.Clusters.AwaitCondition(t, harness.KeyOf(imported), fleet.Condition{Type: fleet.ConditionImported, Status: metav1.ConditionTrue})
	runAgent(t, other, imported.Spec.AgentNamespace)
	if _, errs, code := flotilla(t, "status", "-n", workspace, "cluster/prod-2", "--wait", "--timeout", "1m"); code != cli.ExitYes {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	t.Logf("with a kubeconfig: ready after %s", time.Since(started).Round(time.Millisecond))
}

// valuesOfLine takes the line apart as a shell would.
func valuesOfLine(t *testing.T, line string) map[string]any {
	t.Helper()
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "echo" || !strings.Contains(line, "| base64 -d | helm upgrade --install flotilla-agent ") {
		t.Fatalf("the line is %q", line)
	}
	text, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// installChart makes what the agent, which runs in the test, needs of its chart: the Secret that it registers with.
func installChart(t *testing.T, cluster *harness.Environment, values map[string]any) {
	t.Helper()
	rendered, err := charts.Render(charts.Agent, values)
	if err != nil {
		t.Fatal(err)
	}
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: names.NamespaceSystem}}
	if _, err := cluster.Kubernetes.CoreV1().Namespaces().Create(t.Context(), system, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, object := range rendered.Objects {
		if object.GetKind() != "Secret" {
			continue
		}
		secret := &corev1.Secret{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, secret); err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.Kubernetes.CoreV1().Secrets(names.NamespaceSystem).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}
