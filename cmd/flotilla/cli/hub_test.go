package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
)

func TestReferences(t *testing.T) {
	tests := []struct {
		arg  string
		want reference
		err  string
	}{
		{"gitrepo/shop", reference{kindGitRepo, "shop"}, ""},
		{"gitrepos/shop", reference{kindGitRepo, "shop"}, ""},
		{"GitRepo/shop", reference{kindGitRepo, "shop"}, ""},
		{"bundle.fleet.cattle.io/shop-web", reference{kindBundle, "shop-web"}, ""},
		{"cluster/prod-1", reference{}, `"cluster/prod-1" is of no kind that this command knows: write gitrepo/NAME or bundle/NAME`},
		{"shop", reference{}, `"shop" is no object: write gitrepo/NAME or bundle/NAME`},
		{"gitrepo/", reference{}, `"gitrepo/" is no object: write gitrepo/NAME or bundle/NAME`},
		{"gitrepo/a/b", reference{}, `"gitrepo/a/b" is no object: write gitrepo/NAME or bundle/NAME`},
	}
	for _, tt := range tests {
		got, err := parseReference(tt.arg, kindGitRepo, kindBundle)
		if got != tt.want || fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
			t.Errorf("%s: %v, %v; want %v, %s", tt.arg, got, err, tt.want, tt.err)
		}
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code int
		says string
	}{
		{"yes", nil, ExitYes, ""},
		{"no", unless(false, ""), ExitNo, ""},
		{"no, with a word", fmt.Errorf("asking: %w", unless(false, "later")), ExitNo, "flotilla: asking: later\n"},
		{"an error", errors.New("broken"), ExitError, "flotilla: broken\n"},
		{"interrupted", fmt.Errorf("waiting: %w", context.Canceled), ExitError, "flotilla: interrupted\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := exitCode(&out, tt.err); code != tt.code || out.String() != tt.says {
				t.Errorf("%d, %q; want %d, %q", code, out.String(), tt.code, tt.says)
			}
		})
	}
	if unless(true, "later") != nil {
		t.Error("yes is an error")
	}
}

// TestErrorsNameTheNextStep: what the hub answers is passed on, with the next step.
func TestErrorsNameTheNextStep(t *testing.T) {
	s := &session{namespace: "ws", config: &rest.Config{Host: "https://hub"}}
	bundles := schema.GroupResource{Group: "fleet.cattle.io", Resource: "bundles"}
	ref := reference{kindBundle, "web"}
	noKind := apierrors.NewGenericServerResponse(http.StatusNotFound, "get", bundles, "web", "404 page not found", 0, true)
	tests := []struct {
		name string
		err  error
		says string
	}{
		{"missing", s.absent(apierrors.NewNotFound(bundles, "web"), ref), `there is no bundle "web" in namespace ws`},
		{"not a hub", s.absent(noKind, ref), "the cluster at https://hub is not a hub, it does not serve fleet.cattle.io/v1alpha1"},
		{"not a hub to list", s.listed("bundles", noKind), "the cluster at https://hub is not a hub"},
		{"no rights", s.listed("bundles", apierrors.NewForbidden(bundles, "", errors.New("no"))), "ask whoever runs the hub for that right"},
		{"not logged in", s.listed("bundles", apierrors.NewUnauthorized("no")), "log in again"},
		{"away", s.explain(&net.OpError{Op: "dial", Err: errors.New("refused")}), "is not reached: check --kubeconfig and --context"},
		{"anything else", s.explain(errors.New("broken")), "broken"},
	}
	for _, tt := range tests {
		if !strings.Contains(tt.err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, tt.err, tt.says)
		}
	}
}

// TestNotAHub: a cluster that does not serve our kinds is told from one that
// lacks an object.
func TestNotAHub(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	t.Setenv("KUBECONFIG", "")
	for _, args := range [][]string{
		{"targets", "bundle/web"}, {"status"}, {"status", "bundle/web", "--wait"}, {"gc", "list", "-A"}, {"gc", "hold", "gitrepo/shop"},
	} {
		got := run(t, "", append(args, "--server", server.URL, "-n", "ws")...)
		if got.failure == nil || !strings.Contains(got.failure.Error(), "is not a hub") || got.out != "" {
			t.Errorf("%q: %v, %s", args, got.failure, got.out)
		}
	}
}

// TestJSONIsForPrograms: characters of HTML stay what they are.
func TestJSONIsForPrograms(t *testing.T) {
	cmd := command("")
	var out bytes.Buffer
	cmd.SetOut(&out)
	form := outputFlag(formJSON)
	marks := report.NewMarks()
	marks.Objects = append(marks.Objects, report.Marked{Message: "<a> & b"})
	if err := form.print(cmd, marks, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"message": "<a> & b"`) || !strings.Contains(out.String(), `"apiVersion": "cli.flotilla-gitops.github.io/v1"`) {
		t.Error(out.String())
	}
}

// TestSelectorsKeepAWatchSmall: a wait for one object watches no other of its kind.
func TestSelectorsKeepAWatchSmall(t *testing.T) {
	for k, want := range map[kind]int{kindGitRepo: 2, kindBundle: 1, kindCluster: 1} {
		if got := selectors([]reference{{k, "x"}}); len(got) != want {
			t.Errorf("%s: %d kinds are narrowed, want %d", k, len(got), want)
		}
	}
	if got := selectors([]reference{{kindBundle, "x"}, {kindBundle, "y"}}); got != nil {
		t.Errorf("two bundles share a selector: %v", got)
	}
}
