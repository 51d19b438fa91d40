// Package restart tests that a manager which starts on a hub where nothing has changed writes nothing.
package restart

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{}, func(e *harness.Environment) { env = e }))
}

func TestRestartWritesNothing(t *testing.T) {
	manager := env.StartManager(t, nil)
	workspace := env.Workspace(t)
	env.ClusterGroups.Make(t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "all"},
		Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{}},
	})
	for i := range 5 {
		name := fmt.Sprintf("c%d", i)
		cluster := harness.NewCluster(workspace, name, nil)
		// The first two are imported, each into a namespace of the hub itself.
		want := fleet.Condition{Type: fleet.ConditionProcessed, Status: metav1.ConditionTrue}
		if i < 2 {
			importInto(t, cluster)
			want.Type = fleet.ConditionImported
		}
		env.Clusters.Make(t, cluster)
		env.Clusters.AwaitCondition(t, kube.Key{Namespace: workspace, Name: name}, want)
	}
	env.AwaitQuiet(t)
	manager.Stop(t)
	before := env.AwaitQuiet(t)
	manager.Start()

	// A lie about one cluster, which the manager corrects, shows that it is at work.
	liar := kube.Key{Namespace: workspace, Name: "c4"}
	env.Clusters.EditStatus(t, liar, func(c *fleet.Cluster) { c.Status.Display.ReadyBundles = "9/9" })
	env.Clusters.Await(t, liar, func(c *fleet.Cluster) error {
		if c.Status.Display.ReadyBundles != "0/0" {
			return fmt.Errorf("it says %s", c.Status.Display.ReadyBundles)
		}
		return nil
	})
	want := harness.Writes{"PATCH clusters/status": 2}
	if got := env.AwaitQuiet(t).Since(before); !maps.Equal(got, want) {
		t.Errorf("the restart, the lie and its correction wrote %v, want %v", got, want)
	}
}

// importInto has the cluster imported: its agent goes into a namespace of the hub.
func importInto(t *testing.T, cluster *fleet.Cluster) {
	t.Helper()
	kubeconfig, err := os.ReadFile(env.ControlPlane.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: cluster.Name},
		Data:       map[string][]byte{names.KeyImportKubeconfig: kubeconfig},
	})
	cluster.Spec.KubeConfigSecret = cluster.Name
	cluster.Spec.AgentNamespace = "agent-" + cluster.Namespace + "-" + cluster.Name
}

// What an API server adds to an object, such as defaults, is no reason to write it again.
func TestDeliveryWritesOnlyWhatDiffers(t *testing.T) {
	env.StartManager(t, nil)
	key := kube.Key{Namespace: env.Workspace(t), Name: "c1"}
	cluster := harness.NewCluster(key.Namespace, key.Name, nil)
	importInto(t, cluster)
	yes := true
	cluster.Spec.HostNetwork = &yes
	cluster.Spec.AgentEnvVars = []corev1.EnvVar{{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}}
	cluster.Spec.AgentTolerations = []corev1.Toleration{{Key: "edge"}}
	cluster.Spec.AgentResources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("0.5Gi")}}
	cluster.Spec.AgentSchedulingCustomization = &fleet.AgentSchedulingCustomization{
		PriorityClass:       &fleet.PriorityClassSpec{Value: 1},
		PodDisruptionBudget: &fleet.PodDisruptionBudgetSpec{MaxUnavailable: "1"},
	}
	env.Clusters.Make(t, cluster)
	env.Clusters.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionImported, Status: metav1.ConditionTrue})

	// The note of what was delivered gets lost, and the cluster is looked at again.
	token := kube.Key{Namespace: names.ClusterNamespace(key.Namespace, key.Name), Name: names.SecretAgent}
	env.Secrets.Edit(t, token, func(s *corev1.Secret) { delete(s.Annotations, names.AnnotationDelivered) })
	before := env.AwaitQuiet(t)
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Spec.Paused = true })
	env.Secrets.Await(t, token, func(s *corev1.Secret) error {
		if s.Annotations[names.AnnotationDelivered] == "" {
			return errors.New("nothing was delivered")
		}
		return nil
	})
	// The edit, the note that was lost, and the generation that the status is about.
	want := harness.Writes{"PATCH clusters": 1, "APPLY secrets": 1, "PATCH clusters/status": 1}
	if got := env.AwaitQuiet(t).Since(before); !maps.Equal(got, want) {
		t.Errorf("wrote %v, want %v", got, want)
	}
}
