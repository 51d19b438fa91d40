package nodes

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/flotilla-gitops/flotilla/dev/node"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

const agentLabels = "app=fleet-agent"

// cluster is one of the two, with clients.
type cluster struct {
	*node.Cluster

	client kubernetes.Interface
	fleet  *kube.Hub
}

func connect(t *testing.T, c *node.Cluster) *cluster {
	t.Helper()
	config, err := c.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := kube.Connect(config, kube.Options{UserAgent: "flotilla-e2e"})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Cluster: c, client: conn.Kubernetes, fleet: kube.NewHub(conn)}
}

// story is what the parts hand on to each other.
type story struct {
	hub, edge     *cluster
	readme, guide *document
	work          *workload
	// before is what was there before anything was installed.
	before map[string]inventory
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{
		hub: connect(t, world.hub), edge: connect(t, world.edge),
		readme: readDocument(t, world.root, "README.md"), guide: readDocument(t, world.root, "docs/install.md"),
		work: newWorkload(t, world.hub.Host()),
	}
	ca, err := s.hub.CA()
	if err == nil {
		err = os.WriteFile(filepath.Join(world.dir, "hub-ca.crt"), ca, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.describe(t)
		}
	})
	return s
}

// command prepares commands to be run as somebody types them whose kubectl and helm talk to a cluster. Of what is
// written in the documentation one placeholder is replaced, the address of the hub; the files that it names are there:
// the charts, hub-ca.crt, prod-2.kubeconfig. Images come from the registry that it names.
func (s *story) command(t *testing.T, c *cluster, script string) *exec.Cmd {
	t.Helper()
	script = strings.ReplaceAll(script, "https://hub.example.com:6443", s.hub.URL())
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = world.dir
	cmd.Env = append(os.Environ(), "PATH="+world.bin+":"+os.Getenv("PATH"), "KUBECONFIG="+c.Kubeconfig(), "HOME="+world.dir)
	return cmd
}

// shell runs commands to their end and returns what they print.
func (s *story) shell(t *testing.T, c *cluster, script string) string {
	t.Helper()
	out, err := s.command(t, c, script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s\nfails on %s: %v\n%s", script, c.Name(), err, out)
	}
	return string(out)
}

func (c *cluster) pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// awaitPods returns the pods when there are that many, all of them ready.
func (c *cluster) awaitPods(t *testing.T, namespace, selector string, count int) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	harness.Eventually(t, fmt.Sprintf("%d pods %s are ready on %s", count, selector, c.Name()), func(ctx context.Context) (err error) {
		if pods, err = c.pods(ctx, namespace, selector); err != nil {
			return err
		}
		if len(pods) != count {
			return fmt.Errorf("there are %d: %s", len(pods), stateOf(pods))
		}
		if !allReady(pods) {
			return fmt.Errorf("they are %s", stateOf(pods))
		}
		return nil
	})
	return pods
}

func allReady(pods []corev1.Pod) bool {
	return !slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return !ready(pod) })
}

func ready(pod corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func stateOf(pods []corev1.Pod) string {
	var b strings.Builder
	for _, pod := range pods {
		fmt.Fprintf(&b, "%s/%s %s ready=%t", pod.Namespace, pod.Name, pod.Status.Phase, ready(pod))
		for _, c := range pod.Status.ContainerStatuses {
			fmt.Fprintf(&b, " restarts=%d %v", c.RestartCount, c.State)
		}
		b.WriteString("; ")
	}
	return b.String()
}

// lives names what runs: each pod with the number of its containers' restarts. Two that are equal ran on in between.
func lives(pods []corev1.Pod) string {
	found := map[string]int32{}
	for _, pod := range pods {
		for _, c := range pod.Status.ContainerStatuses {
			found[string(pod.UID)] += c.RestartCount
		}
	}
	var all []string
	for _, uid := range slices.Sorted(maps.Keys(found)) {
		all = append(all, fmt.Sprintf("%s#%d", uid, found[uid]))
	}
	return strings.Join(all, " ")
}

// kill ends the first process of a pod's only container, as the kernel does when memory is short.
func (c *cluster) kill(t *testing.T, pod corev1.Pod) {
	t.Helper()
	_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	if err := c.KillContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) logs(ctx context.Context, pod corev1.Pod) (string, error) {
	stream, err := c.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	return string(text), err
}

// describe shows what is there when the story fails.
func (s *story) describe(t *testing.T) {
	t.Helper()
	for _, c := range []*cluster{s.hub, s.edge} {
		pods, err := c.pods(context.Background(), "", "")
		t.Logf("pods of %s: %s %v", c.Name(), stateOf(pods), err)
		for _, pod := range pods {
			text, err := c.logs(context.Background(), pod)
			lines := strings.Split(strings.TrimSpace(text), "\n")
			t.Logf("the end of the log of %s on %s (%v):\n%s", pod.Name, c.Name(), err, strings.Join(lines[max(0, len(lines)-25):], "\n"))
		}
	}
}
