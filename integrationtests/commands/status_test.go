package commands

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/cli"
	reports "github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// observed is a way to the hub that counts what is asked, apart from watches.
type observed struct {
	url string
	// asked counts reads, watches the watches that were begun.
	asked, watches atomic.Int64
}

func observe(t *testing.T) *observed {
	t.Helper()
	o := &observed{}
	target, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			o.watches.Add(1)
		} else {
			o.asked.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	o.url = server.URL
	return o
}

// running is a command that has not ended yet.
type running struct {
	err, out safe
	ended    chan int
}

// begin runs the command line through the observed way.
func (o *observed) begin(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{ended: make(chan int, 1)}
	go func() {
		r.ended <- cli.Run(t.Context(), cli.Options{Args: append(args, "--server", o.url), In: strings.NewReader(""), Out: &r.out, Err: &r.err})
	}()
	return r
}

func (r *running) awaitSaid(t *testing.T, text string) {
	t.Helper()
	harness.Eventually(t, "it says "+text, func(context.Context) error {
		if said := r.err.String(); !strings.Contains(said, text) {
			return fmt.Errorf("it says %q", said)
		}
		return nil
	})
}

func (r *running) await(t *testing.T, code int) {
	t.Helper()
	harness.Eventually(t, "it ends", func(context.Context) error {
		select {
		case got := <-r.ended:
			if got != code {
				t.Fatalf("exit code %d, want %d\n%s\n%s", got, code, r.out.String(), r.err.String())
			}
			return nil
		default:
			return fmt.Errorf("it says %q", r.err.String())
		}
	})
}

// TestStatusWaitsForAnEvent: it ends with the event that makes the bundle
// ready, and asks for nothing in between.
func TestStatusWaitsForAnEvent(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one, two := cluster(t, ws, "one", nil), cluster(t, ws, "two", nil)
	agent(t, one)
	agent(t, two)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, ws+"/one", ws+"/two")
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "WaitApplied(2)"})
	flotilla(t, "status", "-n", ws, "bundle/web").mustBe(t, cli.ExitNo).mustSay(t, "bundle/web", "0/2", "WaitApplied", ws+"/one")

	o := observe(t)
	wait := o.begin(t, "status", "-n", ws, "bundle/web", "--wait", "--timeout", "1m")
	wait.awaitSaid(t, "waiting for bundle/web: WaitApplied(2)")
	asked, watches := o.asked.Load(), o.watches.Load()
	report(t, b, one)
	wait.awaitSaid(t, "waiting for bundle/web: WaitApplied(1)")
	report(t, b, two)
	env.Bundles.AwaitReady(t, b)
	ready := time.Now()
	wait.await(t, cli.ExitYes)
	if late := time.Since(ready); late > 5*time.Second {
		t.Errorf("it ended %s after the bundle was ready", late)
	}
	if more := o.asked.Load() - asked; more != 0 {
		t.Errorf("it asked %d times while it waited", more)
	}
	if watches == 0 {
		t.Error("it does not watch")
	}
	if said := wait.out.String(); !strings.Contains(said, "2/2") {
		t.Errorf("it says %s", said)
	}
	flotilla(t, "status", "-n", ws, "bundle/web").mustBe(t, cli.ExitYes)
}

// TestStatusGivesUp: in time, with the reason, and with the state it last saw.
func TestStatusGivesUp(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	agent(t, cluster(t, ws, "one", nil))
	b := bundle(t, ws, "web", nil)
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "WaitApplied(1)"})
	begun := time.Now()
	const patience = 700 * time.Millisecond
	got := flotilla(t, "status", "-n", ws, "bundle/web", "--wait", "--timeout", patience.String()).mustBe(t, cli.ExitNo)
	if took := time.Since(begun); took < patience {
		t.Errorf("it gave up after %s", took)
	}
	got.mustSay(t, "flotilla: not ready after 700ms: bundle/web: WaitApplied(1)", "0/1")
	if !strings.Contains(got.out, "bundle/web") {
		t.Errorf("standard output: %s", got.out)
	}
}

// TestStatusWaitsForACommit: it waits for a commit that the manager has yet to
// hear of, although everything of the one before is ready.
func TestStatusWaitsForACommit(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one := cluster(t, ws, "one", nil)
	agent(t, one)
	git := harness.GitRepository(t)
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
	first := git.Push(t, repo.Change{Write: map[string]string{"web/a.yaml": fmt.Sprintf(object, "a")}})
	gitRepo := harness.KeyOf(env.GitRepos.Make(t, harness.NewGitRepo(ws, "shop", git, func(r *fleet.GitRepo) { r.Spec.Paths = []string{"web"} })))
	b := gitRepo
	b.Name = "shop-web"
	awaitOn(t, b, ws+"/one")
	report(t, b, one)
	o := observe(t)
	o.begin(t, "status", "-n", ws, "gitrepo/shop", "--wait", "--commit", first).await(t, cli.ExitYes)

	second := git.Push(t, repo.Change{Write: map[string]string{"web/a.yaml": fmt.Sprintf(object, "b")}})
	wait := o.begin(t, "status", "-n", ws, "gitrepo/shop", "--wait", "--commit", second[:12], "-o", "json")
	before := env.BundleDeployments.Await(t, deployment(b, one), func(bd *fleet.BundleDeployment) error {
		if bd.Status.AppliedDeploymentID == bd.Spec.DeploymentID {
			return errors.New("there is nothing new for the agent")
		}
		return nil
	})
	select {
	case code := <-wait.ended:
		t.Fatalf("it ended with %d before the agent runs %s", code, before.Spec.DeploymentID)
	default:
	}
	report(t, b, one)
	wait.await(t, cli.ExitYes)
	var said reports.Status
	answered{out: wait.out.String()}.json(t, &said)
	if len(said.Items) != 1 || said.Items[0].Commit != second || !said.Items[0].Ready || len(said.Items[0].Bundles) != 1 {
		t.Errorf("it says %+v", said.Items)
	}
}

// TestStatusOfAWorkspace shows repositories with their bundles, bundles of
// nobody, and the clusters that are not ready.
func TestStatusOfAWorkspace(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	agent(t, cluster(t, ws, "fine", map[string]string{"env": "dev"}))
	one := cluster(t, ws, "one", map[string]string{"env": "prod"})
	agent(t, one)
	b := bundle(t, ws, "web", func(b *fleet.Bundle) { b.Spec.Targets = []fleet.BundleTarget{inEnv("prod")} })
	awaitOn(t, b, ws+"/one")
	env.BundleDeployments.EditStatus(t, deployment(b, one), func(bd *fleet.BundleDeployment) {
		bd.Status.Conditions = []fleet.Condition{{Type: fleet.ConditionDeployed, Status: metav1.ConditionFalse, Message: "rendering: no"}}
	})
	env.Clusters.AwaitCondition(t, one, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "rendering: no"})
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionFalse, Message: "rendering: no"})
	got := flotilla(t, "status", "-n", ws).mustBe(t, cli.ExitNo).mustSay(t, "bundle/web", ws+"/one", "ErrApplied", "rendering: no", "cluster/one")
	if strings.Contains(got.out, "cluster/fine") {
		t.Errorf("a cluster that is ready is listed:\n%s", got.out)
	}
	flotilla(t, "status", "-n", ws, "cluster/one").mustBe(t, cli.ExitNo).mustSay(t, "web", "rendering: no")
	report(t, b, one)
	env.Bundles.AwaitReady(t, b)
	flotilla(t, "status", "-n", ws, "--wait").mustBe(t, cli.ExitYes)
	flotilla(t, "status", "-n", ws, "cluster/fine", "cluster/one", "bundle/web").mustBe(t, cli.ExitYes)
}

// TestOfflineClustersAreNamedAndCanBeIgnored: what runs there is unknown, and
// whether that matters is for the caller to say.
func TestOfflineClustersAreNamedAndCanBeIgnored(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	one, two := cluster(t, ws, "one", nil), cluster(t, ws, "two", nil)
	agent(t, one)
	agent(t, two)
	b := bundle(t, ws, "web", nil)
	awaitOn(t, b, ws+"/one", ws+"/two")
	report(t, b, one)
	// The manager takes its own word for it: an agent that was given up before stays so until it gives a sign.
	env.Clusters.EditStatus(t, two, func(c *fleet.Cluster) {
		for i := range c.Status.Conditions {
			if c.Status.Conditions[i].Type == fleet.ConditionClusterReachable {
				c.Status.Conditions[i].Status, c.Status.Conditions[i].Message = metav1.ConditionFalse, "no sign of the cluster's agent"
				return
			}
		}
		c.Status.Conditions = append(c.Status.Conditions, fleet.Condition{
			Type: fleet.ConditionClusterReachable, Status: metav1.ConditionFalse, Message: "no sign of the cluster's agent",
		})
	})
	env.Bundles.AwaitCondition(t, b, fleet.Condition{Type: fleet.ConditionReady, Status: metav1.ConditionUnknown, Reason: fleet.ReasonClustersOffline})
	flotilla(t, "status", "-n", ws, "bundle/web").mustBe(t, cli.ExitNo).mustSay(t, "1/2", ws+"/two", "Unknown", "--ignore-offline leaves them out")
	flotilla(t, "status", "-n", ws, "bundle/web", "--ignore-offline").mustBe(t, cli.ExitYes).mustSay(t, ws+"/two")
	flotilla(t, "status", "-n", ws, "--wait", "--ignore-offline").mustBe(t, cli.ExitYes).mustSay(t, "cluster/two", "no sign of the cluster's agent")
}
