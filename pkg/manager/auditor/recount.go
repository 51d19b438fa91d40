package auditor

import (
	"context"
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

// recount holds the statuses of one kind against their children.
type recount struct {
	kube.Account
	metrics *Metrics
	log     logrus.FieldLogger
	// suspects are those that differed at the first look, and how.
	suspects map[kube.Key]string
}

func (r *recount) look(ctx context.Context) error {
	r.suspects = map[kube.Key]string{}
	keys, err := r.Keys()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		difference, err := r.Mismatch(key)
		if err != nil {
			return fmt.Errorf("recounting %s %s: %w", r.Kind, key, err)
		}
		if difference != "" {
			r.suspects[key] = difference
		}
	}
	return nil
}

func (r *recount) confirm(context.Context) error {
	for key, before := range r.suspects {
		delete(r.suspects, key)
		difference, err := r.Mismatch(key)
		if err != nil {
			return fmt.Errorf("recounting %s %s: %w", r.Kind, key, err)
		}
		if difference != before {
			// It moves: what differed was on its way.
			continue
		}
		const shown = 1024
		log := r.log.WithFields(logrus.Fields{
			"namespace": key.Namespace, "name": key.Name, "difference": difference[:min(len(difference), shown)],
		})
		if r.Events {
			r.metrics.missed(r.Kind)
			log.Error("A change was not noticed, looked at again")
		} else {
			r.metrics.mismatched(r.Kind)
			log.Error("Status was wrong without a reason, counted anew")
		}
		if err := r.Repair(key); err != nil {
			return fmt.Errorf("repairing the status of %s %s: %w", r.Kind, key, err)
		}
	}
	return nil
}

func (r *recount) open() bool { return len(r.suspects) > 0 }

func (r *recount) reset() { r.suspects = nil }
