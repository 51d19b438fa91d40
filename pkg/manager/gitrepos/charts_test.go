package gitrepos

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/gittest"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/bundlereader/charts"
	"github.com/flotilla-gitops/flotilla/pkg/source"
)

// TestChartsInGitRepositories: charts come from a branch, a tag or a commit of a
// real git server, and a private repository wants credentials that are meant
// for it.
func TestChartsInGitRepositories(t *testing.T) {
	r := gittest.New(t, gitserver.Options{})
	push := func(branch, version string) string {
		return r.Push(t, repo.Change{Branch: branch, Write: map[string]string{
			"charts/web/Chart.yaml":       "apiVersion: v2\nname: web\nversion: " + version + "\n",
			"charts/web/templates/a.yaml": "a: 1\n", "charts/web/.helmignore": "x\n", "README.md": "x\n",
		}})
	}
	first := push("", "1.0.0")
	if err := r.Tag(t.Context(), "v1", first); err != nil {
		t.Fatal(err)
	}
	push("", "2.0.0")
	push("next", "3.0.0")
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	mirrors, err := source.NewMirrors(t.TempDir(), source.Limits{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	fetcher, err := charts.New(t.TempDir(), ChartRepositories{mirrors})
	if err != nil {
		t.Fatal(err)
	}
	base := "git::" + r.URL + "//charts/web"
	for address, want := range map[string]string{
		base: "2.0.0", base + "?ref=main": "2.0.0", base + "?ref=next": "3.0.0", base + "?ref=v1&depth=1": "1.0.0", base + "?ref=" + first: "1.0.0",
	} {
		files, err := fetcher.Fetch(context.Background(), bundlereader.ChartRef{Chart: address})
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if !strings.Contains(string(files["web/Chart.yaml"]), "version: "+want) {
			t.Errorf("%s gives %s, want %s", address, files["web/Chart.yaml"], want)
		}
		if diff := cmp.Diff([]string{"web/Chart.yaml", "web/templates/a.yaml"}, slices.Sorted(maps.Keys(files))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", address, diff)
		}
	}
	fails := func(address string, auth *bundlereader.ChartAuth, says string) {
		t.Helper()
		_, err := fetcher.Fetch(context.Background(), bundlereader.ChartRef{Chart: address, Auth: auth})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), r.URL) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want %q", address, err, says)
		}
	}
	fails(base+"?ref=gone", nil, "gone")
	fails(strings.Replace(base, "charts/web", "charts/db", 1), nil, "there is no folder charts/db")
	fails(strings.Replace(base, "//charts/web", "", 1), nil, "holds no Chart.yaml at its top")

	r.Serve(t, gitserver.Behaviour{Username: "canary-user", Password: "canary-password"})
	auth := func(pattern, password string) *bundlereader.ChartAuth {
		allowed, err := bundlereader.NewAddresses(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return &bundlereader.ChartAuth{Username: "canary-user", Password: password, Allowed: allowed}
	}
	fails(base, nil, "401")
	fails(base, auth(r.URL, "canary-wrong"), "401")
	fails(base, auth("https://example\\.test", "canary-password"), "no credentials were sent")
	if _, err := fetcher.Fetch(context.Background(), bundlereader.ChartRef{Chart: base, Auth: auth(r.URL, "canary-password")}); err != nil {
		t.Errorf("with the right credentials: %v", err)
	}
	fails(base, nil, "401")
}

func TestChartsInGitCanBeSwitchedOff(t *testing.T) {
	fetcher, err := charts.New(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fetcher.Fetch(context.Background(), bundlereader.ChartRef{Chart: "git::https://example.test/a"})
	if err == nil || !strings.Contains(err.Error(), "cannot be fetched here") {
		t.Errorf("got %v", err)
	}
}
