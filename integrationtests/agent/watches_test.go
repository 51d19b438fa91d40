package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
	"github.com/flotilla-gitops/flotilla/dev/ports"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	pkgkube "github.com/flotilla-gitops/flotilla/pkg/kube"
)

const (
	customKinds = 20
	customGroup = "watches.example.com"
	// goroutinesMore is by how much the number of goroutines may differ: connections come and go. A watch takes several.
	goroutinesMore = customKinds
	// othersOpen are watches that an agent always has open in its cluster: of its Secret and of the one to register with, of
	// the records of releases, of copies that are Secrets and of those that are ConfigMaps, and of the definitions of kinds.
	othersOpen = 6
)

// Kinds that come and go, with a release that holds an object of each: their
// watches come and go with them, in an agent that runs on.
//
// This test is not parallel: it counts the goroutines of the process. Tests that
// are parallel have not begun yet.
func TestWatchesComeAndGoWithCustomKinds(t *testing.T) {
	w := newWorld(t)
	c := newCustoms(t, w)
	w.configure = c.serve
	w.start()
	w.awaitReady(w.deploy("other", manifest(map[string]string{"a.yaml": configMapYAML("other", "1")})))
	before := c.awaitHeld(0)
	for round := range 2 {
		c.define()
		key := w.deploy("custom", c.ask(fmt.Sprint(round, " at first")))
		w.awaitReady(key)
		with := c.awaitHeld(customKinds)
		c.notices(key, 3)

		// The kinds go under the release, and their objects with them.
		c.undefine()
		w.awaitMissing(key, "")
		c.define()
		w.change(key, c.ask(fmt.Sprint(round, " again")))
		w.awaitReady(key)
		c.awaitHeld(customKinds)
		c.notices(key, 11)

		env.BundleDeployments.Remove(t, key)
		w.awaitRemoved(key)
		after := c.awaitHeld(0)
		c.undefine()
		t.Logf("round %d: before %v, with %v, after %v", round, before, with, after)
	}
}

// An object that goes after it was read and before its watch was there is
// noticed all the same.
func TestWhatGoesBeforeItsWatchIsThereIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gate := make(chan struct{})
	w.configure = func(config *agent.Config) {
		config.Local.Wrap(func(next http.RoundTripper) http.RoundTripper { return &heldBack{gate, next} })
	}
	w.start()
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	w.awaitReady(key)
	if err := env.Kubernetes.CoreV1().ConfigMaps(w.target).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	close(gate)
	w.awaitMissing(key, "ConfigMap")
}

// heldBack holds back what begins a watch of ConfigMaps.
type heldBack struct {
	gate <-chan struct{}
	next http.RoundTripper
}

func (h *heldBack) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet && request.URL.Path == "/api/v1/configmaps" {
		select {
		case <-h.gate:
		case <-request.Context().Done():
			return nil, request.Context().Err()
		}
	}
	return h.next.RoundTrip(request)
}

// customs are kinds of a test's own.
type customs struct {
	w           *world
	definitions apiextensions.Interface
	objects     dynamic.Interface
	// address is where the agent serves its metrics.
	address string
	// open counts the watches that the agent has open in its cluster.
	open atomic.Int64
	// base is what was held before there was any custom kind.
	base *held
}

// held is what an agent holds for its watches.
type held struct {
	// wanted is what the agent says, open what it has open.
	wanted, open, goroutines int
}

func newCustoms(t *testing.T, w *world) *customs {
	t.Helper()
	definitions, err := apiextensions.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	reserved, err := ports.Reserve("agent")
	if err != nil {
		t.Fatal(err)
	}
	c := &customs{w: w, definitions: definitions, objects: objects, address: fmt.Sprintf("127.0.0.1:%d", reserved.Ports()["agent"])}
	reserved.Release("agent")
	t.Cleanup(func() {
		for i := range customKinds {
			_ = definitions.ApiextensionsV1().CustomResourceDefinitions().Delete(context.Background(), crdName(i), metav1.DeleteOptions{})
		}
	})
	return c
}

func plural(i int) string  { return fmt.Sprintf("kind%02ds", i) }
func crdName(i int) string { return plural(i) + "." + customGroup }

// define makes the kinds.
func (c *customs) define() {
	t := c.w.t
	t.Helper()
	api := c.definitions.ApiextensionsV1().CustomResourceDefinitions()
	free := true
	for i := range customKinds {
		_, err := api.Create(t.Context(), &apiextensionsv1.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Name: crdName(i)},
			Spec: apiextensionsv1.CustomResourceDefinitionSpec{
				Group: customGroup, Scope: apiextensionsv1.NamespaceScoped,
				Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural(i), Kind: fmt.Sprintf("Kind%02d", i)},
				Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
					Name: "v1", Served: true, Storage: true,
					Schema: &apiextensionsv1.CustomResourceValidation{
						OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &free},
					},
				}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatalf("creating CRD: %v", err)
		}
	}
	for i := range customKinds {
		harness.Eventually(t, "kind "+plural(i)+" is served", func(ctx context.Context) error {
			_, err := c.of(i).List(ctx, metav1.ListOptions{})
			return err
		})
	}
}

// undefine deletes the kinds and waits until they are gone.
func (c *customs) undefine() {
	t := c.w.t
	t.Helper()
	api := c.definitions.ApiextensionsV1().CustomResourceDefinitions()
	for i := range customKinds {
		if err := api.Delete(t.Context(), crdName(i), metav1.DeleteOptions{}); err != nil {
			t.Fatalf("deleting CRD: %v", err)
		}
	}
	for i := range customKinds {
		harness.Eventually(t, "kind "+plural(i)+" is gone", func(ctx context.Context) error {
			if _, err := api.Get(ctx, crdName(i), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %w", err)
			}
			return nil
		})
	}
}

// of returns the objects of the i-th kind in the namespace of the workloads.
func (c *customs) of(i int) dynamic.ResourceInterface {
	return c.objects.Resource(schema.GroupVersionResource{Group: customGroup, Version: "v1", Resource: plural(i)}).Namespace(c.w.target)
}

// ask asks for an object of each kind.
func (c *customs) ask(says string) ask {
	files := map[string]string{}
	for i := range customKinds {
		files[plural(i)+".yaml"] = fmt.Sprintf(
			"apiVersion: %s/v1\nkind: Kind%02d\nmetadata:\n  name: one\nspec:\n  says: %q\n", customGroup, i, says)
	}
	return manifest(files)
}

// notices deletes an object and waits until the hub is told; then it puts the
// object back.
func (c *customs) notices(key pkgkube.Key, kind int) {
	t := c.w.t
	t.Helper()
	live, err := c.of(kind).Get(t.Context(), "one", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.of(kind).Delete(t.Context(), "one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.w.awaitMissing(key, fmt.Sprintf("Kind%02d", kind))
	live.SetResourceVersion("")
	live.SetUID("")
	if _, err := c.of(kind).Create(t.Context(), live, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.w.awaitReady(key)
}

// awaitMissing waits until the hub is told that objects of a kind are not
// there; of any kind if it is empty.
func (w *world) awaitMissing(key pkgkube.Key, kind string) {
	w.t.Helper()
	env.BundleDeployments.Await(w.t, key, func(bd *fleet.BundleDeployment) error {
		for _, m := range bd.Status.ModifiedStatus {
			if m.Create && (kind == "" || m.Kind == kind) && !bd.Status.NonModified {
				return nil
			}
		}
		return fmt.Errorf("nothing of kind %q is missing: %+v", kind, bd.Status.ModifiedStatus)
	})
}

// serve has the agent serve its metrics, and its watches counted.
func (c *customs) serve(config *agent.Config) {
	config.MetricsAddress = c.address
	config.Local.Wrap(func(next http.RoundTripper) http.RoundTripper { return &watchCounter{&c.open, next} })
}

// awaitHeld waits until there are as many watches more than at first, and
// returns what is held then.
func (c *customs) awaitHeld(more int) held {
	c.w.t.Helper()
	var now held
	harness.Eventually(c.w.t, fmt.Sprintf("the agent holds %d watches more than at first", more), func(ctx context.Context) error {
		var err error
		if now, err = c.held(ctx); err != nil {
			return err
		}
		if now.open != now.wanted+othersOpen {
			return fmt.Errorf("not all watches that are wanted are open: %+v", now)
		}
		if c.base == nil {
			c.base = &held{wanted: now.wanted, open: now.open, goroutines: now.goroutines}
		}
		if now.wanted != c.base.wanted+more {
			return fmt.Errorf("at first %+v, now %+v", *c.base, now)
		}
		if more == 0 && now.goroutines > c.base.goroutines+goroutinesMore {
			return fmt.Errorf("goroutines are left: at first %+v, now %+v", *c.base, now)
		}
		return nil
	})
	return now
}

func (c *customs) held(ctx context.Context) (held, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+"/metrics", http.NoBody)
	if err != nil {
		return held{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return held{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return held{}, err
	}
	if !strings.Contains(string(body), "flotilla_agent_watches ") {
		return held{}, errors.New("there is no metric flotilla_agent_watches")
	}
	wanted, err := counters.Sum(body, "flotilla_agent_watches")
	return held{wanted: int(wanted), open: int(c.open.Load()), goroutines: runtime.NumGoroutine()}, err
}

// watchCounter counts watches that are open. The API server's own count would
// not do: other controllers watch the same kinds.
type watchCounter struct {
	open *atomic.Int64
	next http.RoundTripper
}

func (w *watchCounter) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusOK || request.URL.Query().Get("watch") == "" {
		return response, err
	}
	w.open.Add(1)
	response.Body = &watchBody{response.Body, sync.OnceFunc(func() { w.open.Add(-1) })}
	return response, nil
}

type watchBody struct {
	io.ReadCloser
	ended func()
}

func (b *watchBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended()
	}
	return n, err
}

func (b *watchBody) Close() error {
	b.ended()
	return b.ReadCloser.Close()
}
