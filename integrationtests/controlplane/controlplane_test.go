package controlplane_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
)

func startCluster(t *testing.T, options controlplane.Options) *controlplane.Cluster {
	t.Helper()
	options.Dir, options.Progress = filepath.Join(t.TempDir(), "cluster"), os.Stderr
	if options.Name == "" {
		options.Name = "test"
	}
	began := time.Now()
	cluster, err := controlplane.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
		for _, component := range cluster.Components() {
			if cluster.Running(component) {
				t.Errorf("%s runs after Stop", component)
			}
		}
	})
	return cluster
}

func clientFor(t *testing.T, cluster *controlplane.Cluster) kubernetes.Interface {
	t.Helper()
	config, err := cluster.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	return clientWith(t, config)
}

func clientWith(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func eventually(t *testing.T, what string, condition func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := condition(ctx)
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never happened: %s (last error: %v)", what, err)
		case <-tick.C:
		}
	}
}

// TestWholeCluster is one story on one cluster, as starting it is what takes time.
func TestWholeCluster(t *testing.T) {
	cluster := startCluster(t, controlplane.Options{Name: "whole"})
	client := clientFor(t, cluster)

	t.Run("it is the Kubernetes that its build module names", func(t *testing.T) {
		version, err := client.Discovery().ServerVersion()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(version.GitVersion, "v1.") || version.Major != "1" || version.Minor == "" {
			t.Errorf("it calls itself %q (%s.%s)", version.GitVersion, version.Major, version.Minor)
		}
	})
	t.Run("a deployment becomes available", func(t *testing.T) { deploymentBecomesAvailable(t, client) })
	t.Run("tokens are real and bound by RBAC", func(t *testing.T) { tokensAreReal(t, cluster, client) })
	t.Run("a namespace goes with what is in it", func(t *testing.T) {
		createNamespace(t, client, "office")
		inside := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "inside"}}
		if _, err := client.CoreV1().ConfigMaps("office").Create(t.Context(), inside, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := client.CoreV1().Namespaces().Delete(t.Context(), "office", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the namespace is gone", func(ctx context.Context) (bool, error) {
			_, err := client.CoreV1().Namespaces().Get(ctx, "office", metav1.GetOptions{})
			return apierrors.IsNotFound(err), err
		})
	})
}

func createNamespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func deploymentBecomesAvailable(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	createNamespace(t, client, "shop")
	labels, replicas := map[string]string{"app": "cart"}, int32(2)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "cart"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "cart", Image: "cart:1"}}},
			},
		},
	}
	if _, err := client.AppsV1().Deployments("shop").Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both replicas are available", func(ctx context.Context) (bool, error) {
		current, err := client.AppsV1().Deployments("shop").Get(ctx, "cart", metav1.GetOptions{})
		return err == nil && current.Status.AvailableReplicas == replicas, err
	})
}

func tokensAreReal(t *testing.T, cluster *controlplane.Cluster, client kubernetes.Interface) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "agent"}}
	if _, err := client.CoreV1().ServiceAccounts("shop").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	seconds := int64(600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	answer, err := client.CoreV1().ServiceAccounts("shop").CreateToken(t.Context(), "agent", request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := cluster.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = answer.Status.Token
	agent := clientWith(t, config)

	self, err := agent.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := self.Status.UserInfo.Username; got != "system:serviceaccount:shop:agent" {
		t.Errorf("the token's bearer is %q", got)
	}
	if _, err := agent.CoreV1().Secrets("shop").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("an account without any role may list secrets (error: %v)", err)
	}
}

func TestComponentsComeBackAtTheirAddressWithTheirData(t *testing.T) {
	cluster := startCluster(t, controlplane.Options{Components: []controlplane.Component{controlplane.Etcd, controlplane.APIServer}})
	client := clientFor(t, cluster)
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), kept, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// An open watch is what an API server that is asked to stop waits for.
	watch, err := client.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()

	// Another process, such as the next call of a command, knows the cluster by its folder alone.
	other, err := controlplane.Open(filepath.Dir(cluster.Kubeconfig()))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		component controlplane.Component
		end       func(*controlplane.Cluster, context.Context, controlplane.Component) error
	}{
		{"apiserver stopped", controlplane.APIServer, (*controlplane.Cluster).StopComponent},
		{"apiserver killed", controlplane.APIServer, (*controlplane.Cluster).KillComponent},
		{"etcd stopped", controlplane.Etcd, (*controlplane.Cluster).StopComponent},
		{"etcd killed", controlplane.Etcd, (*controlplane.Cluster).KillComponent},
	} {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			if err := test.end(other, t.Context(), test.component); err != nil {
				t.Fatal(err)
			}
			t.Logf("gone after %v", time.Since(began).Round(time.Millisecond))
			if cluster.Running(test.component) {
				t.Fatal("it still runs")
			}
			if test.component == controlplane.APIServer && reachable(t, cluster.URL()) {
				t.Error("something still answers at its address")
			}
			if err := test.end(cluster, t.Context(), test.component); err != nil {
				t.Errorf("ending what has ended: %v", err)
			}
			began = time.Now()
			if err := cluster.StartComponent(t.Context(), test.component); err != nil {
				t.Fatal(err)
			}
			t.Logf("back after %v", time.Since(began).Round(time.Millisecond))
			eventually(t, "the data is there under the old address", func(ctx context.Context) (bool, error) {
				_, err := client.CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{})
				return err == nil, err
			})
		})
	}
	t.Run("all stopped", func(t *testing.T) {
		if err := cluster.Stop(); err != nil {
			t.Fatal(err)
		}
		if reachable(t, cluster.URL()) {
			t.Error("something still answers at its address")
		}
		if err := other.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func reachable(t *testing.T, url string) bool {
	t.Helper()
	response, err := http.Get(url)
	if err == nil {
		response.Body.Close()
	}
	// A complaint about the certificate is an answer, too.
	return err == nil || !strings.Contains(err.Error(), "connection refused")
}

func TestClusterThatCannotStartSaysWhyAndLeavesNothingRunning(t *testing.T) {
	dir := t.TempDir()
	_, err := controlplane.Start(t.Context(), controlplane.Options{
		Name: "broken", Dir: dir, APIServerArgs: []string{"--no-such-flag"}, Progress: os.Stderr,
		Components: []controlplane.Component{controlplane.APIServer},
	})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Fatalf("the error does not show the end of the log: %v", err)
	}
	cluster, err := controlplane.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range cluster.Components() {
		if cluster.Running(component) {
			t.Errorf("%s still runs", component)
		}
	}
}

func TestWrongUse(t *testing.T) {
	dir := t.TempDir()
	if _, err := controlplane.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening an empty folder: %v", err)
	}
	for name, options := range map[string]controlplane.Options{
		"no name":           {Dir: dir},
		"no folder":         {Name: "test"},
		"unknown component": {Name: "test", Dir: dir, Components: []controlplane.Component{"kubelet"}},
	} {
		if cluster, err := controlplane.Start(t.Context(), options); err == nil {
			t.Errorf("%s: a cluster was started", name)
			cluster.Stop()
		}
	}
}

func TestFolderHoldsOneClusterOnly(t *testing.T) {
	cluster := startCluster(t, controlplane.Options{Components: []controlplane.Component{controlplane.APIServer}})
	options := controlplane.Options{Name: "second", Dir: filepath.Dir(cluster.Kubeconfig())}
	if _, err := controlplane.Start(t.Context(), options); err == nil || !strings.Contains(err.Error(), "holds a cluster already") {
		t.Errorf("starting a second cluster in the same folder: %v", err)
	}
	if !cluster.Running(controlplane.APIServer) {
		t.Error("the attempt ended the first cluster")
	}
	if err := cluster.StartComponent(t.Context(), controlplane.Scheduler); err == nil || !strings.Contains(err.Error(), "no component") {
		t.Errorf("starting a component that the cluster was made without: %v", err)
	}
}
