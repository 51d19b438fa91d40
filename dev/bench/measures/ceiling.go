package measures

import (
	"context"
	"fmt"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/bench/apiserver"
	"github.com/flotilla-gitops/flotilla/dev/bench/figures"
	"github.com/flotilla-gitops/flotilla/dev/bench/gauge"
	"github.com/flotilla-gitops/flotilla/dev/bench/hub"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// workerCounts are the numbers of workers that the ceiling is taken with; the best counts.
func workerCounts() []int { return []int{16, 32, 64} }

// ceiling measures how fast the API server creates and deletes the same deployments for one process that does nothing else, with
// the manager stopped and the same watches open: the bench's, and one that keeps every object, as the manager has. It leaves no
// deployment behind.
func (r *Run) ceiling(ctx context.Context) error {
	if err := r.hub.StopManager(ctx); err != nil {
		return err
	}
	list, err := r.hub.BundleDeployments.List(ctx, "", nil)
	if err != nil {
		return fmt.Errorf("reading deployments: %w", err)
	}
	c := &ceiling{run: r, objects: r.fanned}
	for i := range list.Items {
		c.created = append(c.created, &list.Items[i])
	}
	if err := c.open(ctx); err != nil {
		return err
	}
	defer c.close()
	// Out of the measure: what is deleted first was not created by this process.
	if _, err := c.remove(ctx, apiserver.AtOnce); err != nil {
		return err
	}
	for _, workers := range workerCounts() {
		if err := r.startProfile(ctx, fmt.Sprintf("ceiling %d", workers)); err != nil {
			return err
		}
		for range r.Rounds {
			if err := c.round(ctx, workers); err != nil {
				return err
			}
		}
	}
	c.report()
	return nil
}

// report adds the ceiling, and puts what was measured beside it.
func (c *ceiling) report() {
	r := c.run
	for _, m := range []struct {
		measured, alone string
		best            effort
	}{{nameFanout, nameCreates, c.creates}, {nameUntarget, nameDeletes, c.deletes}} {
		r.report.Add(figures.Measure{Name: m.alone, Value: m.best.rate, Unit: figures.PerSecond})
		compare(r.report.Measures, m.measured, m.best.rate)
		for _, process := range hub.Processes() {
			spent, ok := r.spent[m.measured][process]
			if !ok {
				continue
			}
			r.report.Add(figures.Measure{
				Name: m.measured + ": processor time each: " + process, Value: milliseconds(spent), Unit: figures.Milliseconds,
				Ceiling: milliseconds(m.best.spent[process]),
			})
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// compare puts a measure beside its ceiling.
func compare(measures []figures.Measure, name string, ceiling float64) {
	for i := range measures {
		if measures[i].Name == name {
			measures[i].Ceiling = ceiling
		}
	}
}

// ceiling is what the API server can do alone.
type ceiling struct {
	run *Run
	// kind is the client and, as the manager's, the keeper of a watch.
	kind  *kube.Kind[*fleet.BundleDeployment, *fleet.BundleDeploymentList]
	count *gauge.Gauge
	// objects are what is created; created what the API server made of them.
	objects, created []*fleet.BundleDeployment
	// creates and deletes are the best so far.
	creates, deletes effort
	closeWatch       context.CancelFunc
}

// effort is how fast something went, per second, and the processor time that each took.
type effort struct {
	rate  float64
	spent hub.Spent
}

func (e effort) or(other effort) effort {
	if other.rate > e.rate {
		return other
	}
	return e
}

func (c *ceiling) open(ctx context.Context) error {
	var err error
	if c.count, err = c.run.countDeployments(ctx, len(c.created)); err != nil {
		return err
	}
	watcher, err := c.run.hub.Connect()
	if err != nil {
		c.count.Close()
		return err
	}
	c.kind = watcher.BundleDeployments
	c.kind.Cache()
	watching, cancel := context.WithCancel(ctx)
	c.closeWatch = cancel
	if err := watcher.Start(watching); err != nil {
		c.close()
		return fmt.Errorf("watching deployments: %w", err)
	}
	return nil
}

func (c *ceiling) close() {
	c.closeWatch()
	c.count.Close()
}

// round creates and deletes everything once.
func (c *ceiling) round(ctx context.Context, workers int) error {
	return c.run.progress.Do(fmt.Sprintf("ceiling, %d workers", workers), func(task *progress.Task) (string, error) {
		task.Update("creating")
		created, err := c.create(ctx, workers)
		if err != nil {
			return "", err
		}
		task.Update("deleting")
		deleted, err := c.remove(ctx, workers)
		c.creates, c.deletes = c.creates.or(created), c.deletes.or(deleted)
		return fmt.Sprintf("%.0f/s created, %.0f/s deleted", created.rate, deleted.rate), err
	})
}

func (c *ceiling) create(ctx context.Context, workers int) (effort, error) {
	c.created = make([]*fleet.BundleDeployment, len(c.objects))
	return c.timed(ctx, len(c.objects), func() error {
		return apiserver.Each(ctx, workers, len(c.objects), func(ctx context.Context, i int) (err error) {
			c.created[i], err = c.kind.Create(ctx, c.objects[i])
			return err
		})
	})
}

// remove deletes the way the manager does: exactly what was created.
func (c *ceiling) remove(ctx context.Context, workers int) (effort, error) {
	return c.timed(ctx, 0, func() error {
		return apiserver.Each(ctx, workers, len(c.created), func(ctx context.Context, i int) error {
			return c.kind.Delete(ctx, c.created[i])
		})
	})
}

// timed returns how fast do brings all objects to be there, or gone, as a watch sees it.
func (c *ceiling) timed(ctx context.Context, want int, do func() error) (effort, error) {
	before, err := c.run.hub.Spent()
	if err != nil {
		return effort{}, err
	}
	began := time.Now()
	if err := do(); err != nil {
		return effort{}, fmt.Errorf("measuring the API server alone: %w", err)
	}
	last, err := c.count.Await(ctx, want, gauge.Quietly)
	if err != nil {
		return effort{}, err
	}
	after, err := c.run.hub.Spent()
	n := len(c.objects)
	return effort{rate: figures.Rate(n, last.Sub(began)), spent: perObject(after.Minus(before), n)}, err
}
