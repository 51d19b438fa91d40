package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// road is the way to the hub; it can be closed.
type road struct {
	t        *testing.T
	to       string
	listener net.Listener

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func newRoad(t *testing.T) *road {
	t.Helper()
	hub, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &road{t: t, to: hub.Host, listener: listener, conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = listener.Close()
		r.close()
	})
	go r.serve()
	return r
}

func (r *road) url() string { return "https://" + r.listener.Addr().String() }

func (r *road) serve() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.carry(in)
	}
}

func (r *road) carry(in net.Conn) {
	out, err := new(net.Dialer).DialContext(context.Background(), "tcp", r.to)
	if err != nil {
		_ = in.Close()
		return
	}
	if !r.keep(in, out) {
		return
	}
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
	_ = in.Close()
}

// keep notes two connections, or ends them if the road is closed.
func (r *road) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.closed {
			_ = c.Close()
		} else {
			r.conns[c] = true
		}
	}
	return !r.closed
}

// close ends every connection, and each new one at once.
func (r *road) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for c := range r.conns {
		_ = c.Close()
	}
	r.conns = map[net.Conn]bool{}
}

func (r *road) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = false
}

// two are a deployment that is changed during an outage, and one that is deleted then.
type two struct {
	w             *world
	changed, gone types.NamespacedName
}

// deployTwo returns them when they are ready.
func (w *world) deployTwo() two {
	w.t.Helper()
	d := two{
		w:       w,
		changed: w.deploy("changed", manifest(map[string]string{"a.yaml": configMapYAML("changed", "1")})),
		gone:    w.deploy("gone", manifest(map[string]string{"a.yaml": configMapYAML("gone", "1")})),
	}
	w.awaitReady(d.changed)
	w.awaitReady(d.gone)
	return d
}

// ask changes the one and deletes the other.
func (d two) ask() {
	d.w.t.Helper()
	env.BundleDeployments.Remove(d.w.t, d.gone)
	d.w.change(d.changed, manifest(map[string]string{"a.yaml": configMapYAML("changed", "2")}))
}

// assertUntouched says that the workloads of both are as they were.
func (d two) assertUntouched(when string) {
	d.w.t.Helper()
	if d.w.configMap("gone") == nil || d.w.configMap("changed").Data["key"] != "1" {
		d.w.t.Errorf("something was changed %s", when)
	}
}

// awaitDone waits until what was asked for is done, and logs how long that took.
func (d two) awaitDone(after string, since time.Time) {
	d.w.t.Helper()
	d.w.awaitRemoved(d.gone)
	d.w.awaitReady(d.changed)
	d.w.t.Logf("all was done %s after %s", time.Since(since).Round(time.Millisecond), after)
}

func TestHubThatIsAwayChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	road := newRoad(t)
	w.connect(road.url())
	w.start()
	claim := w.deploy("claim", manifest(map[string]string{"a.yaml": claimYAML("data")}))
	env.BundleDeployments.Await(t, claim, notReady("data [progressing]"))
	two := w.deployTwo()

	road.close()
	w.bind("data") // the agent sees it, and cannot tell
	two.ask()
	two.assertUntouched("while the hub was away")

	back := time.Now()
	road.open()
	two.awaitDone("the hub was back", back)
	w.awaitReady(claim)
}

func TestAgentStartsWhileTheHubIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	road := newRoad(t)
	w.connect(road.url())
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	w.awaitReady(key)
	w.stop()
	road.close()
	w.start()
	env.BundleDeployments.Remove(t, key)
	if w.configMap("a") == nil {
		t.Error("the workload is gone")
	}
	road.open()
	w.awaitRemoved(key)
}

func TestNewTokenTakesEffectWithoutRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.hubAccount("first")
	w.writeToken(first)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	w.awaitReady(key)

	second := w.hubAccount("second")
	w.writeToken(second)
	// The first account is revoked: only the second can report from now on.
	if err := env.Kubernetes.RbacV1().ClusterRoleBindings().Delete(t.Context(), w.namespace+"-first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "2")}))
	w.awaitReady(key)
}

// hubAccount makes a service account on the hub that may do what agents may,
// and more, and returns a token of it.
func (w *world) hubAccount(name string) string {
	w.t.Helper()
	api := env.Kubernetes.CoreV1().ServiceAccounts(w.namespace)
	if _, err := api.Create(w.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-" + name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.namespace, Name: name}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}
	if _, err := env.Kubernetes.RbacV1().ClusterRoleBindings().Create(w.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = env.Kubernetes.RbacV1().ClusterRoleBindings().Delete(context.Background(), binding.Name, metav1.DeleteOptions{})
	})
	token, err := api.CreateToken(w.t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return token.Status.Token
}

// writeToken has the agent use a token alone.
func (w *world) writeToken(token string) {
	w.t.Helper()
	w.writeCredentials(env.Config.Host, clientcmdapi.AuthInfo{Token: token})
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	lease := env.Leases.Await(t, types.NamespacedName{Namespace: w.namespace, Name: names.LeaseAgent}, func(l *coordinationv1.Lease) error {
		if l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
			return fmt.Errorf("lease is %+v", l.Spec)
		}
		return nil
	})
	if seconds := *lease.Spec.LeaseDurationSeconds; seconds != 180 {
		t.Errorf("the lease is for %d s", seconds)
	}
	env.Clusters.Await(t, harness.KeyOf(w.cluster), func(c *fleet.Cluster) error {
		if c.Status.Agent.LastSeen.IsZero() || c.Status.Agent.Namespace != w.agent {
			return fmt.Errorf("agent is %+v", c.Status.Agent)
		}
		return nil
	})
}

func TestSecretThatCannotBeUsedIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good, err := env.Kubernetes.CoreV1().Secrets(w.agent).Get(t.Context(), names.SecretAgent, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bad := good.DeepCopy()
	bad.ResourceVersion = ""
	bad.Data[names.KeyKubeconfig] = []byte(strings.Replace(string(good.Data[names.KeyKubeconfig]), "user:", "user:\n    exec: {command: /bin/true, apiVersion: v1}", 1))
	w.putSecret(bad)
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	good.ResourceVersion = ""
	w.putSecret(good)
	w.awaitReady(key)
}

// The token is revoked: nothing is changed. A new one counts at once, however
// long the agent was refused.
func TestRevokedTokenChangesNothingAndANewOneCountsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.hubAccount("first")
	w.writeToken(first)
	w.start()
	two := w.deployTwo()
	if err := env.Kubernetes.CoreV1().ServiceAccounts(w.namespace).Delete(t.Context(), "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The API server remembers for a while whom it knew; the watch that is open ends when it ends.
	w.restart()
	w.awaitRefused(first)
	two.ask()
	two.assertUntouched("with a token that does not count")
	second := w.hubAccount("second")
	renewed := time.Now()
	w.writeToken(second)
	two.awaitDone("the token was renewed", renewed)
}

// The agent's own API server is away: what is asked for meanwhile is done when
// it is back, and nothing is said to be done before.
func TestOwnAPIServerThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	road := newRoad(t)
	w.configure = func(c *agent.Config) {
		c.LongestRetry = 2 * time.Second
		c.Local.TLSClientConfig.ServerName, c.Local.Host = tlsName(t, c.Local.Host), road.url()
	}
	w.start()
	two := w.deployTwo()
	road.close()
	two.ask()
	env.BundleDeployments.Await(t, two.changed, func(bd *fleet.BundleDeployment) error {
		if bd.Status.AppliedDeploymentID == bd.Spec.DeploymentID {
			t.Fatal("it counts as applied")
		}
		return nil
	})
	two.assertUntouched("while the API server was away")
	back := time.Now()
	road.open()
	two.awaitDone("the API server was back", back)
}

// tlsName is the name in the certificate of a host, where the client does not
// say another one.
func tlsName(t *testing.T, host string) string {
	t.Helper()
	u, err := url.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	if env.Config.ServerName != "" {
		return env.Config.ServerName
	}
	return u.Hostname()
}

// awaitRefused waits until the API server does not know a token any more.
func (w *world) awaitRefused(token string) {
	w.t.Helper()
	config := rest.AnonymousClientConfig(env.Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		w.t.Fatal(err)
	}
	harness.Eventually(w.t, "the token is refused", func(ctx context.Context) error {
		_, err := client.CoreV1().ConfigMaps(w.namespace).Get(ctx, names.ConfigMapHub, metav1.GetOptions{})
		if apierrors.IsUnauthorized(err) {
			return nil
		}
		return fmt.Errorf("it is not: %w", err)
	})
}

// The API server, which is the hub and the cluster here, is killed while it is
// worked with.
//
// This test is not parallel: all others have the same API server.
func TestAPIServerIsKilled(t *testing.T) {
	w := newWorld(t)
	w.start()
	app := func(value string) ask { return manifest(map[string]string{"a.yaml": configMapYAML("a", value)}) }
	key := w.deploy("app", app("1"))
	kept := w.deploy("kept", manifest(map[string]string{"a.yaml": configMapYAML("kept", "1")}))
	w.awaitReady(key)
	w.awaitReady(kept)
	uid := w.configMap("kept").UID
	for i := range 2 {
		w.change(key, app(fmt.Sprint(i+2)))
		env.RestartAPIServer(t, i == 0)
		w.awaitReady(key)
	}
	env.BundleDeployments.Remove(t, key)
	w.awaitRemoved(key)
	if cm := w.configMap("kept"); cm == nil || cm.UID != uid {
		t.Error("what nobody changed is not as it was")
	}
}
