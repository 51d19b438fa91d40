package release

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/postrender"
	"helm.sh/helm/v3/pkg/releaseutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubeClient is Helm's client with what Helm's own lacks.
//
//   - A panic is an error of the call. Helm calls its client from goroutines of
//     its own, where nobody else could catch it.
//   - Nothing that a release gives up is deleted without evidence that it is
//     the release's: see objects.
//   - What an upgrade deletes is everything that any recorded revision holds
//     and the new one does not, not only what the last successful one held. It
//     is part of the upgrade: if it fails, the upgrade has failed.
//   - Kinds that the API server no longer serves are left out of manifests
//     that are recorded: nothing of such a kind can exist.
//   - The API server alone validates. What it refuses is said with the name of
//     the object: see createAll and changeAll.
//   - A chart that takes too long to render is given up: see Manager.render.
type kubeClient struct {
	*kube.Client
	ctx     context.Context
	objects *objects
	log     logrus.FieldLogger
	// release is what the client works on.
	release Key
	// set is the object set that the release applies.
	set string
	// capabilities are what Helm tells templates; they grow with the CRDs of the chart.
	capabilities *chartutil.Capabilities
	// recorded are the objects of all recorded revisions, recordedText their manifests.
	recorded     []Object
	recordedText map[string]bool
	// timeout is how long to wait for a single thing.
	timeout time.Duration
	// waiting is called with what waits for others.
	waiting func(wait func())

	// mu guards turn and target while the chart may still be rendering. turn says how that goes, rendered is closed when
	// it is done; target is the manifest that Helm is about to apply.
	mu       sync.Mutex
	turn     turn
	rendered chan struct{}
	target   string
	// replacing has objects replaced one after the other.
	replacing sync.Mutex
	// forgiving leaves unknown kinds out of every manifest.
	forgiving bool

	// deleted says that the objects of the release have been deleted, deleteErr what went wrong, and left which of them
	// are still there.
	deleted   bool
	deleteErr error
	left      []Remaining
}

var (
	_ kube.Interface                    = (*kubeClient)(nil)
	_ kube.InterfaceThreeWayMerge       = (*kubeClient)(nil)
	_ kube.InterfaceDeletionPropagation = (*kubeClient)(nil)
	_ kube.InterfaceExt                 = (*kubeClient)(nil)
)

// caught turns a panic into an error.
func (c *kubeClient) caught(err *error) {
	if r := recover(); r != nil {
		c.log.WithField("stack", string(debug.Stack())).Error("Helm panicked")
		*err = fmt.Errorf("panic in Helm: %v", r)
	}
}

// IsReachable makes no request: the ones that follow will tell.
func (c *kubeClient) IsReachable() error { return nil }

func (c *kubeClient) Build(reader io.Reader, _ bool) (list kube.ResourceList, err error) {
	defer c.caught(&err)
	manifest, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	if !c.forgiving && (string(manifest) == c.target || !c.recordedText[string(manifest)]) {
		return c.Client.Build(bytes.NewReader(manifest), false)
	}
	known, err := c.withoutUnknown(string(manifest))
	if err != nil {
		return nil, err
	}
	return c.Client.Build(strings.NewReader(known), false)
}

// withoutUnknown returns the manifest without the objects of kinds that the
// API server does not serve.
func (c *kubeClient) withoutUnknown(manifest string) (string, error) {
	var known strings.Builder
	for _, doc := range documents(manifest) {
		list, err := parseManifest(doc)
		if err != nil {
			return "", err
		}
		if len(list) > 0 {
			gone, err := c.objects.unserved(c.ctx, list[0].GroupVersionKind)
			if err != nil {
				return "", err
			}
			if gone {
				continue
			}
		}
		known.WriteString("---\n" + doc + "\n")
	}
	return known.String(), nil
}

// documents splits a manifest into its documents, in their order.
func documents(manifest string) []string {
	byName := releaseutil.SplitManifests(manifest)
	docs := make([]string, 0, len(byName))
	for i := range len(byName) {
		docs = append(docs, byName[fmt.Sprintf("manifest-%d", i)])
	}
	return docs
}

func (c *kubeClient) Create(list kube.ResourceList) (result *kube.Result, err error) {
	defer c.caught(&err)
	result, err = c.createAll(list)
	if err != nil || len(c.recorded) == 0 || !c.isTarget(list) {
		return result, err
	}
	_, err = c.objects.remove(c.ctx, removal{release: c.release, set: c.set, objects: c.recorded, except: infoObjects(list)})
	return result, err
}

// isTarget says whether the list is what the release is to hold, and not a
// hook or a CRD.
func (c *kubeClient) isTarget(list kube.ResourceList) bool {
	target, err := parseManifest(c.target)
	if err != nil || len(target) != len(list) {
		return false
	}
	names := make(map[identity]bool, len(target))
	for _, o := range target {
		names[identity{GroupKind: o.GroupKind(), name: o.Name}] = true
	}
	for _, o := range infoObjects(list) {
		if !names[identity{GroupKind: o.GroupKind(), name: o.Name}] {
			return false
		}
	}
	return true
}

func (c *kubeClient) Update(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	return c.update(original, target, changing{apply: c.Client.Update, force: force})
}

func (c *kubeClient) UpdateThreeWayMerge(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	return c.update(original, target, changing{apply: c.Client.UpdateThreeWayMerge, force: force})
}

func (c *kubeClient) update(original, target kube.ResourceList, how changing) (result *kube.Result, err error) {
	// Helm reads the result of a failed update, too.
	result = &kube.Result{}
	defer c.caught(&err)
	if err := c.changeAll(original, target, how, result); err != nil {
		return result, err
	}
	_, err = c.objects.remove(c.ctx, removal{
		release: c.release, set: c.set,
		objects: union(c.recorded, infoObjects(original)), except: infoObjects(target),
	})
	return result, err
}

// Delete deletes what hooks created. Hooks carry no marks of their release;
// Helm knows them by name.
func (c *kubeClient) Delete(list kube.ResourceList) (result *kube.Result, errs []error) {
	var err error
	defer func() {
		if err != nil {
			result, errs = nil, append(errs, err)
		}
	}()
	defer c.caught(&err)
	return c.Client.Delete(list)
}

// DeleteWithPropagationPolicy deletes what an uninstalled release holds, in
// whatever revision.
func (c *kubeClient) DeleteWithPropagationPolicy(list kube.ResourceList, _ metav1.DeletionPropagation) (result *kube.Result, errs []error) {
	var err error
	defer func() {
		c.deleteErr = err
		if err != nil {
			result, errs = nil, []error{err}
		}
	}()
	defer c.caught(&err)
	c.left, err = c.objects.remove(c.ctx, removal{
		release: c.release, set: c.set, objects: union(c.recorded, infoObjects(list)),
	})
	c.deleted = err == nil
	return &kube.Result{Deleted: list}, nil
}

func (c *kubeClient) WatchUntilReady(list kube.ResourceList, timeout time.Duration) (err error) {
	c.waiting(func() {
		defer c.caught(&err)
		err = c.Client.WatchUntilReady(list, timeout)
	})
	return err
}

func (c *kubeClient) WaitAndGetCompletedPodPhase(name string, timeout time.Duration) (phase corev1.PodPhase, err error) {
	c.waiting(func() {
		defer c.caught(&err)
		phase, err = c.Client.WaitAndGetCompletedPodPhase(name, timeout)
	})
	return phase, err
}

// infoObjects returns what a list of Helm's refers to.
func infoObjects(list kube.ResourceList) []Object {
	result := make([]Object, 0, len(list))
	for _, info := range list {
		o := Object{GroupVersionKind: info.Mapping.GroupVersionKind, Name: info.Name}
		if info.Mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			o.Namespace = info.Namespace
		}
		result = append(result, o)
	}
	return result
}

// witness returns a post-renderer that does what next does, if anything, and
// has the client know what Helm is about to apply.
func (c *kubeClient) witness(next postrender.PostRenderer) postrender.PostRenderer {
	return &witness{next: next, client: c}
}

type witness struct {
	next   postrender.PostRenderer
	client *kubeClient
}

func (w *witness) Run(rendered *bytes.Buffer) (*bytes.Buffer, error) {
	if w.next != nil {
		changed, err := w.next.Run(rendered)
		if err != nil {
			return nil, err
		}
		rendered = changed
	}
	if err := w.client.goOn(rendered.String()); err != nil {
		return nil, err
	}
	return rendered, nil
}

// clean takes the content of Secrets out of an error: Helm and the API server
// quote parts of what they refuse.
func (c *kubeClient) clean(err error) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	target := c.target
	c.mu.Unlock()
	secrets, parseErr := secretsIn(target)
	if parseErr != nil || len(secrets) == 0 {
		return err
	}
	return NewRedactor(secrets, c.release.Name, c.release.Namespace).Error(err)
}
