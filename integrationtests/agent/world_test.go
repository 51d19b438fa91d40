package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	pkgkube "github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

const hubID = "hub-of-the-test"

// world is one cluster on the hub and the namespace of its agent downstream.
type world struct {
	t         *testing.T
	workspace string
	// namespace is the cluster's on the hub, agent the agent's downstream, target the one that workloads go to.
	namespace, agent, target string
	cluster                  *fleet.Cluster
	// line counts and can cut the agent's requests to its own cluster.
	line *line
	// configure, if set, changes how the agent is started.
	configure func(*agent.Config)

	stop func()
}

// newWorld makes a cluster whose agent does not run yet.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, workspace: env.Workspace(t), line: &line{}, stop: func() {}}
	w.cluster = env.Clusters.Make(t, harness.NewCluster(w.workspace, "downstream", nil))
	w.namespace = names.ClusterNamespace(w.workspace, w.cluster.Name)
	w.makeNamespace(w.namespace)
	w.agent = w.makeNamespace("")
	w.target = w.makeNamespace("")
	w.make(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: names.ConfigMapHub},
		Data:       map[string]string{names.KeyHubID: hubID},
	})
	w.connect(env.Config.Host)
	return w
}

// makeNamespace makes a namespace, with a name of its own if none is given.
func (w *world) makeNamespace(name string) string {
	w.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if name == "" {
		ns.GenerateName = "agent-test-"
	}
	made, err := env.Kubernetes.CoreV1().Namespaces().Create(w.t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatalf("creating namespace: %v", err)
	}
	w.t.Cleanup(func() {
		_ = env.Kubernetes.CoreV1().Namespaces().Delete(context.Background(), made.Name, metav1.DeleteOptions{})
	})
	return made.Name
}

func (w *world) make(cm *corev1.ConfigMap) {
	w.t.Helper()
	if _, err := env.Kubernetes.CoreV1().ConfigMaps(cm.Namespace).Create(w.t.Context(), cm, metav1.CreateOptions{}); err != nil {
		w.t.Fatalf("creating ConfigMap: %v", err)
	}
}

// connect writes the Secret by which the agent reaches the hub at an address.
func (w *world) connect(host string) {
	w.t.Helper()
	w.writeCredentials(host, clientcmdapi.AuthInfo{
		Token: env.Config.BearerToken, ClientCertificateData: env.Config.CertData, ClientKeyData: env.Config.KeyData,
	})
}

func (w *world) writeCredentials(host string, user clientcmdapi.AuthInfo) {
	w.t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["hub"] = &clientcmdapi.Cluster{
		Server: host, CertificateAuthorityData: env.Config.CAData, TLSServerName: env.Config.ServerName,
	}
	config.AuthInfos["agent"] = &user
	config.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "agent"}
	config.CurrentContext = "hub"
	kubeconfig, err := clientcmd.Write(*config)
	if err != nil {
		w.t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.agent, Name: names.SecretAgent},
		Data: map[string][]byte{
			names.KeyKubeconfig: kubeconfig, names.KeyDeploymentNamespace: []byte(w.namespace),
			names.KeyClusterNamespace: []byte(w.workspace), names.KeyClusterName: []byte(w.cluster.Name),
		},
	}
	w.putSecret(secret)
}

func (w *world) putSecret(secret *corev1.Secret) {
	w.t.Helper()
	secrets := env.Kubernetes.CoreV1().Secrets(secret.Namespace)
	_, err := secrets.Create(w.t.Context(), secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(w.t.Context(), secret, metav1.UpdateOptions{})
	}
	if err != nil {
		w.t.Fatalf("writing Secret: %v", err)
	}
}

// start runs the agent until the test ends, or until stop is called.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	config := agent.Config{Local: w.line.through(env.Config), Namespace: w.agent, AtOnce: agent.DefaultAtOnce}
	if w.configure != nil {
		w.configure(&config)
	}
	log := harness.LogOf(w.t)
	go func() { ended <- agent.Run(ctx, config, log) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("agent ended: %v", err)
		}
	})
	w.t.Cleanup(w.stop)
}

// restart ends the agent and runs another.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// ask is what a deployment asks for.
type ask struct {
	files  map[string]string
	values string // JSON
	edit   func(*fleet.BundleDeployment)
}

// manifest asks for plain manifests: file name to text.
func manifest(files map[string]string) ask { return ask{files: files} }

// with returns the ask with its deployment edited, too.
func (a ask) with(edit func(*fleet.BundleDeployment)) ask {
	before := a.edit
	a.edit = func(bd *fleet.BundleDeployment) {
		if before != nil {
			before(bd)
		}
		edit(bd)
	}
	return a
}

// deploy writes a deployment as the manager would: content first.
func (w *world) deploy(name string, a ask) pkgkube.Key {
	w.t.Helper()
	bd := w.deployment(name)
	bd.Finalizers = []string{names.FinalizerDeployment}
	w.fill(bd, a)
	return harness.KeyOf(env.BundleDeployments.Make(w.t, bd))
}

// change rewrites what a deployment asks for.
func (w *world) change(key pkgkube.Key, a ask) {
	w.t.Helper()
	env.BundleDeployments.Edit(w.t, key, func(bd *fleet.BundleDeployment) {
		bd.Spec = w.deployment(key.Name).Spec
		w.fill(bd, a)
	})
}

func (w *world) deployment(name string) *fleet.BundleDeployment {
	return &fleet.BundleDeployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: name,
			Labels: map[string]string{names.LabelBundleName: name, names.LabelBundleNamespace: w.workspace},
		},
		Spec: fleet.BundleDeploymentSpec{Options: fleet.BundleDeploymentOptions{DefaultNamespace: w.target}},
	}
}

func (w *world) fill(bd *fleet.BundleDeployment, a ask) {
	w.t.Helper()
	if a.edit != nil {
		a.edit(bd)
	}
	content := w.content(a.files)
	id, err := bundle.DeploymentID(content.Name, w.withValues(bd.Spec.Options, a.values))
	if err != nil {
		w.t.Fatal(err)
	}
	bd.Spec.DeploymentID, bd.Spec.StagedDeploymentID, bd.Spec.StagedOptions = id, id, bd.Spec.Options
	if a.values != "" {
		bd.Spec.ValuesHash = bundle.DeploymentValuesHash([]byte(a.values))
		w.putSecret(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: bd.Name},
			Data:       map[string][]byte{bundle.KeyValues: []byte(a.values)},
		})
	}
}

func (w *world) withValues(o fleet.BundleDeploymentOptions, values string) fleet.BundleDeploymentOptions {
	w.t.Helper()
	joined, err := bundle.JoinValues(*o.DeepCopy(), []byte(values))
	if err != nil {
		w.t.Fatal(err)
	}
	return joined
}

// content makes the Content that holds the files, if there is none yet.
func (w *world) content(files map[string]string) *fleet.Content {
	w.t.Helper()
	content := contentOf(w.t, files)
	_, err := env.Contents.Create(w.t.Context(), content)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatalf("creating content: %v", err)
	}
	return content
}

func contentOf(t *testing.T, files map[string]string) *fleet.Content {
	t.Helper()
	var resources []fleet.BundleResource
	for _, name := range slices.Sorted(maps.Keys(files)) {
		resources = append(resources, fleet.BundleResource{Name: name, Content: files[name]})
	}
	encoded, err := bundle.Encode(resources)
	if err != nil {
		t.Fatal(err)
	}
	return &fleet.Content{ObjectMeta: metav1.ObjectMeta{Name: encoded.Name}, Content: encoded.Data, SHA256Sum: encoded.SHA256}
}

// awaitDeployed returns the deployment when the agent says that it runs what
// is asked for now.
func (w *world) awaitDeployed(key pkgkube.Key) *fleet.BundleDeployment {
	w.t.Helper()
	return env.BundleDeployments.Await(w.t, key, func(bd *fleet.BundleDeployment) error {
		if bd.Status.AppliedDeploymentID != bd.Spec.DeploymentID || !status.IsTrue(bd.Status.Conditions, fleet.ConditionDeployed) {
			return fmt.Errorf("it is not deployed: %s", bd.Status.Display.Deployed)
		}
		return nil
	})
}

func (w *world) awaitReady(key pkgkube.Key) *fleet.BundleDeployment {
	w.t.Helper()
	w.awaitDeployed(key)
	return env.BundleDeployments.AwaitReady(w.t, key)
}

// awaitFailed returns the deployment when the agent says that it cannot be
// deployed, in a message that contains the text.
func (w *world) awaitFailed(key pkgkube.Key, text string) *fleet.BundleDeployment {
	w.t.Helper()
	return env.BundleDeployments.AwaitCondition(w.t, key, fleet.Condition{
		Type: fleet.ConditionDeployed, Status: metav1.ConditionFalse, Message: text,
	})
}

// awaitRemoved waits until the agent says that everything of a deployment that
// was deleted is gone, and takes the finalizer off as the manager would.
func (w *world) awaitRemoved(key pkgkube.Key) {
	w.t.Helper()
	env.BundleDeployments.AwaitCondition(w.t, key, fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionTrue})
	w.unpin(key)
	env.BundleDeployments.AwaitGone(w.t, key)
}

// unpin takes the finalizers of a deployment off.
func (w *world) unpin(key pkgkube.Key) {
	w.t.Helper()
	env.BundleDeployments.Edit(w.t, key, func(bd *fleet.BundleDeployment) { bd.Finalizers = nil })
}

// configMap returns a ConfigMap of the target namespace, nil if there is none.
func (w *world) configMap(name string) *corev1.ConfigMap { return w.configMapIn(w.target, name) }

func (w *world) configMapIn(namespace, name string) *corev1.ConfigMap {
	w.t.Helper()
	cm, err := env.Kubernetes.CoreV1().ConfigMaps(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatalf("reading ConfigMap: %v", err)
	}
	return cm
}

// records returns the records of releases in a namespace, by name.
func (w *world) records(namespace string) []corev1.Secret {
	w.t.Helper()
	list, err := env.Kubernetes.CoreV1().Secrets(namespace).List(w.t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		w.t.Fatalf("listing Secrets: %v", err)
	}
	return list.Items
}

// configMapYAML is a manifest of a ConfigMap with one key.
func configMapYAML(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  key: %q\n", name, value)
}

// line is what an agent's requests to its own cluster go through.
type line struct {
	mu     sync.Mutex
	writes []string
	// asked are the dry runs.
	asked []string
	// cutAfter is how many more writes pass before nothing does; negative is no limit.
	limited  bool
	cutAfter int
	cut      func()
}

var errCut = errors.New("cut off")

func (l *line) through(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counted{line: l, next: next} })
	return config
}

// pass says whether a request may pass, and notes it if it writes.
func (l *line) pass(req *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if req.URL.Query().Has("dryRun") {
		l.asked = append(l.asked, req.Method+" "+req.URL.Path)
		return !l.limited || l.cutAfter > 0
	}
	writes := req.Method != http.MethodGet
	if l.limited && l.cutAfter <= 0 && (writes || l.cut == nil) {
		if l.cut != nil {
			go l.cut()
			l.cut = nil
		}
		return false
	}
	if writes {
		l.cutAfter--
		l.writes = append(l.writes, req.Method+" "+req.URL.Path)
	}
	return true
}

// made returns the writes so far.
func (l *line) made() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.writes)
}

// dryRuns returns the dry runs so far.
func (l *line) dryRuns() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// limit lets n more writes pass, then nothing; cut is called when that happens.
func (l *line) limit(n int, cut func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limited, l.cutAfter, l.cut = true, n, cut
}

// free lets everything pass again.
func (l *line) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limited, l.cut = false, nil
}

type counted struct {
	line *line
	next http.RoundTripper
}

func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	if !c.line.pass(req) {
		return nil, errCut
	}
	return c.next.RoundTrip(req)
}

// wait polls until ok says so, or gives up as harness.Eventually does, without
// failing the test.
func wait(ctx context.Context, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// runs returns what waits for a job of the target namespace to be there.
func runs(w *world, job string) func(context.Context) error {
	return func(context.Context) error {
		if w.job(job) == nil {
			return fmt.Errorf("there is no job %s", job)
		}
		return nil
	}
}

// assertNoClaim fails the test if a volume claim is there to stay.
func (w *world) assertNoClaim(name string) {
	w.t.Helper()
	claims, err := env.Kubernetes.CoreV1().PersistentVolumeClaims(w.target).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, claim := range claims.Items {
		if claim.Name == name && claim.DeletionTimestamp == nil {
			w.t.Errorf("volume claim %s is left", name)
		}
	}
}
