package webhooks

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
	"github.com/flotilla-gitops/flotilla/pkg/manager/webhooks"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// TestReplicaReceivesAndLeaderActs has the one receive that does not lead.
func TestReplicaReceivesAndLeaderActs(t *testing.T) {
	system, workspace := env.Workspace(t), env.Workspace(t)
	secret(t, system, names.SecretWebhook, "s3cret")
	git := harness.GitRepository(t)
	first := commit(t, git, "one")
	env.StartManager(t, func(c *manager.Config) { c.LeaderElection, c.Namespace = true, system })
	key := follow(t, workspace, git, nil)
	before := awaitCommit(t, key, first)

	receive, url := receiving(t, system)
	env.StartReplica(t, func(c *manager.Config) { receive(c); c.LeaderElection = true })
	awaitReceiver(t, url)
	h := host{to: url, secret: "s3cret"}
	var last string
	for _, says := range []string{"two", "three"} {
		last = commit(t, git, says)
		began := time.Now()
		wantStatus(t, "a push", http.StatusOK)(h.deliver(t, push(git.URL, repo.DefaultBranch, last)))
		awaitCommit(t, key, last)
		t.Logf("%s from the delivery to the commit's bundles", time.Since(began))
	}
	after := awaitCommit(t, key, last)
	if after.Status.WebhookCommit != last || after.Status.LastWebhookTime.IsZero() {
		t.Errorf("the status does not tell of the webhook: %q at %s", after.Status.WebhookCommit, after.Status.LastWebhookTime)
	}
	if after.Generation != before.Generation || after.Spec.PollingInterval != nil {
		t.Error("the webhook changed the user's spec")
	}
	if after.Status.PollingCommit != "" {
		t.Errorf("polling is said to have found %q", after.Status.PollingCommit)
	}
}

func TestWhatIsNotProvenDoesNothing(t *testing.T) {
	system, workspace, other := env.Workspace(t), env.Workspace(t), env.Workspace(t)
	secret(t, system, names.SecretWebhook, "s3cret")
	secret(t, workspace, "hook", "its own")
	git := harness.GitRepository(t)
	first := commit(t, git, "one")
	receive, url := receiving(t, system)
	env.StartManager(t, receive)
	key := follow(t, workspace, git, func(gr *fleet.GitRepo) { gr.Spec.WebhookSecret = "hook" })
	lost := follow(t, other, git, func(gr *fleet.GitRepo) { gr.Spec.WebhookSecret = "missing" })
	awaitCommit(t, key, first)
	awaitCommit(t, lost, first)
	awaitReceiver(t, url)

	second := commit(t, git, "two")
	body := push(git.URL, repo.DefaultBranch, second)
	unsigned, forged, global, own := host{to: url}, host{to: url, secret: "guessed"}, host{to: url, secret: "s3cret"}, host{to: url, secret: "its own"}
	_, known := unsigned.deliver(t, body)
	_, unknown := unsigned.deliver(t, push("https://git.example/nobody/follows", "main", second))
	if known != unknown {
		t.Errorf("who has no secret learns what is followed:\n%s\n%s", known, unknown)
	}
	wantStatus(t, "unsigned", http.StatusUnauthorized)(unsigned.deliver(t, body))
	wantStatus(t, "forged", http.StatusUnauthorized)(forged.deliver(t, body))
	wantStatus(t, "the global secret, where there is another", http.StatusOK)(global.deliver(t, body))
	wantStatus(t, "another branch", http.StatusOK)(own.deliver(t, push(git.URL, "other", second)))
	wantStatus(t, "too large", http.StatusRequestEntityTooLarge)(own.deliver(t, strings.Repeat(" ", webhooks.MaxBody+1)))
	wantStatus(t, "not JSON", http.StatusBadRequest)(own.deliver(t, "{"))
	env.AwaitQuiet(t)
	if got := env.GitRepos.Await(t, key, func(*fleet.GitRepo) error { return nil }); got.Status.WebhookCommit != "" || got.Status.Commit != first {
		t.Errorf("what nobody proved was acted on: %q, %q", got.Status.WebhookCommit, got.Status.Commit)
	}

	wantStatus(t, "its own secret", http.StatusOK)(own.deliver(t, body))
	awaitCommit(t, key, second)
	// The Secret that is missing comes, by an event, and counts at once.
	secret(t, other, "missing", "found")
	harness.Eventually(t, "the new Secret counts", func(ctx) error { return accepted(host{to: url, secret: "found"}.deliver(t, body)) })
	awaitCommit(t, lost, second)
}

func TestUnsignedIsBelievedOnlyWhereAskedFor(t *testing.T) {
	system, workspace := env.Workspace(t), env.Workspace(t)
	git := harness.GitRepository(t)
	first := commit(t, git, "one")
	receive, url := receiving(t, system)
	env.StartManager(t, func(c *manager.Config) { receive(c); c.UnsignedWebhooks = true })
	key := follow(t, workspace, git, nil)
	awaitCommit(t, key, first)
	h := host{to: url}
	second := commit(t, git, "two")
	harness.Eventually(t, "the manager receives", func(ctx) error { return accepted(h.deliver(t, push(git.URL, repo.DefaultBranch, second))) })
	awaitCommit(t, key, second)
	secret(t, system, names.SecretWebhook, "s3cret")
	harness.Eventually(t, "the secret counts", func(ctx) error { return refused(h.deliver(t, push(git.URL, repo.DefaultBranch, second))) })
}
