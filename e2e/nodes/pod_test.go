package nodes

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-gitops/flotilla/dev/node"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

// A pod runs, is probed, says something, and comes back when it is killed: the nodes are real.
func TestPodsAreReal(t *testing.T) {
	for _, c := range []*cluster{connect(t, world.hub), connect(t, world.edge)} {
		pods := c.client.CoreV1().Pods(metav1.NamespaceDefault)
		harness.Eventually(t, "pods are accepted", func(ctx context.Context) error {
			_, err := pods.Create(ctx, probedPod("real"), metav1.CreateOptions{})
			return err // The default service account is made by a controller.
		})
		pod := c.awaitPods(t, metav1.NamespaceDefault, "app=real", 1)[0]
		if text, err := c.logs(t.Context(), pod); err != nil || !strings.Contains(text, "says hello") {
			t.Errorf("%s: the pod says %q, %v", c.Name(), text, err)
		}
		c.kill(t, pod)
		c.awaitRestart(t, pod)
		grace := int64(0)
		if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "the pod is gone", func(ctx context.Context) error {
			left, err := c.pods(ctx, pod.Namespace, "app=real")
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("it is %s", stateOf(left))
			}
			return err
		})
	}
}

func probedPod(name string) *corev1.Pod {
	asked := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(8080)}}
	probe := &corev1.Probe{ProbeHandler: asked, PeriodSeconds: 1}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "pod", Image: node.SandboxImage, ImagePullPolicy: corev1.PullNever,
			Args: []string{"--http", ":8080", "--say", "hello"}, ReadinessProbe: probe,
		}}},
	}
}
