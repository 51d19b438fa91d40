// Package webhooks receives what Git hosts deliver when somebody pushes.
//
// Every replica of the manager receives. It believes a delivery only to the
// GitRepos whose secret the sender knows, and records the commit in their
// status: that is an event for the leader, which then asks the repository. So
// a delivery never says what is deployed, only when to look.
package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/webhook"
)

const (
	// MaxBody is how large a delivery may be, in bytes.
	MaxBody = 5 << 20
	// maxHeld is how many bytes of deliveries are in memory at once.
	maxHeld = 64 << 20
	// timeLimit bounds the work on one delivery.
	timeLimit = 10 * time.Second
	// Deliveries that were proven are acted on at this rate a second, but for
	// the first after a pause.
	actionRate, actionBurst = 50, 200
	// Refusals are logged at this rate a second.
	logRate, logBurst = 1, 10
	parallelWrites    = 16

	byRepository = "repository"
)

// Secrets reads Secrets.
type Secrets interface {
	Get(ctx context.Context, key kube.Key) (*corev1.Secret, error)
}

// Deps is what the receiver needs.
type Deps struct {
	// Conn is a connection of the receiver's own: it is started by whoever runs
	// the receiver, whichever replica leads.
	Conn    *kube.Connection
	Secrets Secrets
	// Secret is the Secret for GitRepos that name none.
	Secret kube.Key
	// AllowUnsigned believes every delivery where there is no secret.
	AllowUnsigned bool
	Log           logrus.FieldLogger
	Clock         clock.PassiveClock
	// Count is told what became of each delivery.
	Count func(provider, result string)
}

// Receiver answers Git hosts.
type Receiver struct {
	Deps
	gitrepos gitRepos
	cache    cached
	synced   func() bool
	writes   *kube.Requests
	memory   *allowance
	actions  *rate.Limiter
	logs     *rate.Limiter
}

// gitRepos writes statuses of GitRepos.
type gitRepos interface {
	MergeStatus(ctx context.Context, repo *fleet.GitRepo, fields map[string]any) error
}

// cached finds GitRepos by the repository that they name.
type cached interface {
	GetByIndex(index, key string) ([]*fleet.GitRepo, error)
}

// New prepares a receiver. It answers once the connection is started.
func New(deps Deps) *Receiver {
	kind := kube.NewKind[*fleet.GitRepo, *fleet.GitRepoList](deps.Conn, kube.Resource{
		GVK: kube.FleetGVK("GitRepo"), Plural: "gitrepos", Namespaced: true, Trim: trim,
	})
	kind.AddIndex(byRepository, func(repo *fleet.GitRepo) []string {
		if name, ok := webhook.Repository(repo.Spec.Repo); ok {
			return []string{name}
		}
		return nil
	})
	r := newReceiver(deps)
	r.gitrepos, r.cache, r.synced = kind, kind.Cache(), deps.Conn.Synced
	return r
}

func newReceiver(deps Deps) *Receiver {
	deps.Log = deps.Log.WithField("controller", "webhooks")
	return &Receiver{
		Deps:    deps,
		writes:  kube.NewRequests(parallelWrites, new(kube.Load)),
		memory:  &allowance{left: maxHeld},
		actions: rate.NewLimiter(actionRate, actionBurst), logs: rate.NewLimiter(logRate, logBurst),
	}
}

// trim keeps of a GitRepo what a delivery is compared with.
func trim(obj any) {
	repo, ok := obj.(*fleet.GitRepo)
	if !ok {
		return
	}
	repo.Labels, repo.Annotations, repo.Status = nil, nil, fleet.GitRepoStatus{}
	repo.Spec = fleet.GitRepoSpec{
		Repo: repo.Spec.Repo, Branch: repo.Spec.Branch, Revision: repo.Spec.Revision, WebhookSecret: repo.Spec.WebhookSecret,
	}
}

// answer is what a Git host is told.
type answer struct {
	status int
	// result is one word for the metrics.
	result, text string
}

// ServeHTTP takes one delivery.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), timeLimit)
	defer cancel()
	provider := "unknown"
	a := r.guarded(func() (a answer) {
		provider, a = r.take(ctx, w, req)
		return a
	})
	r.Count(provider, a.result)
	if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.status)
	fmt.Fprintln(w, a.text)
}

// guarded has a panic cost its delivery, and nothing else.
func (r *Receiver) guarded(f func() answer) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			// What a panic says may hold a part of the delivery.
			r.Log.WithField("stack", string(debug.Stack())).Error("Panic on a delivery")
			a = answer{http.StatusInternalServerError, "failed", "the delivery could not be handled: see the log of the manager"}
		}
	}()
	return f()
}

func (r *Receiver) take(ctx context.Context, w http.ResponseWriter, req *http.Request) (string, answer) {
	body, refused := r.body(w, req)
	if refused != nil {
		return "unknown", *refused
	}
	defer body.release()
	delivery, err := webhook.Read(req.Header, body.bytes)
	if err != nil {
		return "unknown", answer{http.StatusBadRequest, "malformed", err.Error()}
	}
	if !r.synced() {
		return string(delivery.Provider), answer{http.StatusServiceUnavailable, "overloaded", "the manager is starting: deliver again"}
	}
	return string(delivery.Provider), r.handle(ctx, delivery)
}

// handle acts on a delivery as far as it is proven.
func (r *Receiver) handle(ctx context.Context, d *webhook.Delivery) answer {
	log := r.Log.WithFields(logrus.Fields{"provider": d.Provider, "event": d.Event})
	proven, why := r.proven(ctx, d)
	if why != nil {
		return r.refuse(log, why)
	}
	marks := followers(d, proven)
	switch {
	case len(d.Changes) == 0:
		return answer{http.StatusOK, "ignored", "the delivery is verified; its event is no push: nothing to do"}
	case len(marks) == 0:
		return answer{http.StatusOK, "unmatched", "the delivery is verified; no GitRepo that it is valid for follows what was pushed"}
	}
	if err := r.actions.Wait(ctx); err != nil {
		return answer{http.StatusTooManyRequests, "overloaded", "too many deliveries: deliver again"}
	}
	if err := r.record(ctx, marks); err != nil {
		log.WithError(err).Error("Recording a delivery failed")
		return answer{http.StatusServiceUnavailable, "failed", "the commit could not be recorded on every GitRepo: deliver again"}
	}
	log.WithFields(logrus.Fields{"commit": marks[0].commit, "gitrepos": len(marks)}).Info("Webhook received")
	return answer{http.StatusOK, "accepted", fmt.Sprintf("GitRepos that look for the commit now: %d", len(marks))}
}

// refuse answers the same whether the repository is followed or not: whoever
// has no secret learns nothing.
func (r *Receiver) refuse(log logrus.FieldLogger, why error) answer {
	var away *unreadableError
	if errors.As(why, &away) {
		log.WithError(why).Error("Verifying a delivery failed")
		return answer{http.StatusServiceUnavailable, "failed", "the secret of the webhook could not be read: deliver again"}
	}
	if r.logs.Allow() {
		log.WithField("reason", why.Error()).Warn("Webhook refused")
	}
	return answer{http.StatusUnauthorized, "refused", fmt.Sprintf(
		"the delivery is not verified: give the webhook the secret that stands, under the key for this host, in the Secret %s, "+
			"or in the Secret that the GitRepo names in spec.webhookSecret; the log of the manager says what is wrong", r.Secret)}
}
