package release

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/resource"
)

const kindCRD = "CustomResourceDefinition"

// between are the times between two looks at something that is waited for: soon
// at first, since most things are quick, then every second.
func between() wait.Backoff {
	return wait.Backoff{Duration: 20 * time.Millisecond, Factor: 1.5, Jitter: 0.1, Cap: time.Second, Steps: math.MaxInt32}
}

// Wait waits until the objects are ready.
func (c *kubeClient) Wait(list kube.ResourceList, timeout time.Duration) (err error) {
	defer c.caught(&err)
	if err := c.await(list, timeout, kube.PausedAsReady(true)); err != nil {
		return err
	}
	return c.learn(list)
}

// WaitWithJobs waits until the objects are ready and the jobs among them are
// complete.
func (c *kubeClient) WaitWithJobs(list kube.ResourceList, timeout time.Duration) (err error) {
	defer c.caught(&err)
	return c.await(list, timeout, kube.PausedAsReady(true), kube.CheckJobs(true))
}

func (c *kubeClient) await(list kube.ResourceList, timeout time.Duration, opts ...kube.ReadyCheckerOption) error {
	client, err := c.Client.Factory.KubernetesClientSet()
	if err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	checker := kube.NewReadyChecker(client, c.Client.Log, opts...)
	next := 0
	var last error
	err = c.poll(timeout, func(ctx context.Context) (bool, error) {
		for ; next < len(list); next++ {
			var ready bool
			ready, last = checker.IsReady(ctx, list[next])
			switch {
			case last != nil && !transient(last):
				return false, last
			case last != nil || !ready:
				return false, nil //nolint:nilerr // it passes: the next look tells, and last is what is said in the end
			}
		}
		return true, nil
	})
	if err != nil && next < len(list) && wait.Interrupted(err) {
		return fmt.Errorf("%s was not ready within %s: %w", infoObjects(list[next : next+1])[0], timeout, errors.Join(err, last))
	}
	return err
}

// transient says whether asking again can have another answer. Errors that are
// not the API server's are Helm's verdicts, such as that a job has failed.
func transient(err error) bool {
	return apierrors.ReasonForError(err) != "" && !apierrors.IsForbidden(err)
}

// WaitForDelete waits until the objects are gone.
func (c *kubeClient) WaitForDelete(list kube.ResourceList, timeout time.Duration) (err error) {
	defer c.caught(&err)
	next := 0
	err = c.poll(timeout, func(context.Context) (bool, error) {
		for ; next < len(list); next++ {
			_, err := resource.NewHelper(list[next].Client, list[next].Mapping).Get(list[next].Namespace, list[next].Name)
			if err != nil && !apierrors.IsNotFound(err) {
				return false, err
			}
			if err == nil {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil && next < len(list) && wait.Interrupted(err) {
		return fmt.Errorf("%s was not gone within %s: %w", infoObjects(list[next : next+1])[0], timeout, err)
	}
	return err
}

func (c *kubeClient) poll(timeout time.Duration, done wait.ConditionWithContextFunc) (err error) {
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	backoff := between()
	c.waiting(func() { err = backoff.DelayFunc().Until(ctx, true, false, done) })
	return err
}

// learn has the kinds known that new CRDs define, to templates, too.
func (c *kubeClient) learn(list kube.ResourceList) error {
	for _, info := range list {
		if info.Mapping.GroupVersionKind.Kind != kindCRD {
			return nil
		}
	}
	c.objects.cluster.Reset()
	known, err := c.objects.cluster.helmCapabilities()
	if err != nil {
		return err
	}
	*c.capabilities = *known
	return nil
}
