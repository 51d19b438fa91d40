// Package unsupported answers objects of kinds that this version does not act
// on: they say Accepted=False, reason NotImplemented, instead of nothing.
package unsupported

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// Deps is what the controller needs.
type Deps struct {
	Hub   *kube.Hub
	Log   logrus.FieldLogger
	Clock clock.PassiveClock
}

// Register prepares one queue per kind; they run until ctx ends once the
// returned function is called.
func Register(deps Deps) (run func(ctx context.Context)) {
	queues := []*kube.Queue{
		answer(deps, deps.Hub.HelmOps, func(o *fleet.HelmOp) *[]fleet.Condition { return &o.Status.Conditions }),
		answer(deps, deps.Hub.Schedules, func(o *fleet.Schedule) *[]fleet.Condition { return &o.Status.Conditions }),
		answer(deps, deps.Hub.ImageScans, func(o *fleet.ImageScan) *[]fleet.Condition { return &o.Status.Conditions }),
	}
	return func(ctx context.Context) {
		var running sync.WaitGroup
		for _, q := range queues {
			running.Go(func() { q.Run(ctx) })
		}
		running.Wait()
	}
}

// answer watches one kind and keeps the condition on each of its objects.
func answer[T interface {
	kube.Object
	DeepCopy() T
}, L runtime.Object](deps Deps, kind *kube.Kind[T, L], conditions func(T) *[]fleet.Condition) *kube.Queue {
	cache := kind.Cache()
	name := kind.Resource.GVK.Kind
	queue := kube.NewQueue(kube.QueueOptions{
		Name: "unsupported-" + kind.Resource.Plural, Log: deps.Log, Workers: 1,
		Reconcile: func(ctx context.Context, key kube.Key) (time.Duration, error) {
			obj, err := cache.Get(key.Namespace, key.Name)
			if apierrors.IsNotFound(err) {
				return 0, nil
			}
			if err != nil {
				return 0, fmt.Errorf("reading %s: %w", name, err)
			}
			after := obj.DeepCopy()
			if !status.SetNotImplemented(conditions(after), name, obj.GetGeneration(), metav1.NewTime(deps.Clock.Now())) {
				return 0, nil
			}
			if _, err := kind.PatchStatus(ctx, obj, after); err != nil {
				return 0, fmt.Errorf("writing status of %s: %w", name, err)
			}
			return 0, nil
		},
	})
	kind.OnEvent(func(e kube.Event[T]) { queue.Wake(kube.KeyOf(e.Object())) })
	return queue
}
