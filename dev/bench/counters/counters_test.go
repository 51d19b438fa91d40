package counters

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const exposition = `# HELP apiserver_request_total Counter of apiserver requests.
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",component="apiserver",dry_run="",group="fleet.cattle.io",resource="bundledeployments",scope="resource",subresource="",verb="POST",version="v1alpha1"} 2999
apiserver_request_total{code="409",component="apiserver",dry_run="",group="fleet.cattle.io",resource="bundledeployments",scope="resource",subresource="",verb="POST",version="v1alpha1"} 1
apiserver_request_total{code="200",component="apiserver",dry_run="",group="fleet.cattle.io",resource="bundles",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 1.2e+01
apiserver_request_total{code="200",component="apiserver",dry_run="All",group="",resource="pods",scope="resource",subresource="",verb="POST",version="v1"} 5
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="",scope="",subresource="",verb="GET",version=""} 7
apiserver_request_total{code="200",component="",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 4
apiserver_request_total{code="200",component="",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="GET",version="v1"} 6
apiserver_request_total{code="200",component="",dry_run="",group="fleet.cattle.io",resource="clusters",scope="namespace",subresource="",verb="LIST",version="v1alpha1"} 3
apiserver_request_total{code="0",component="",dry_run="",group="fleet.cattle.io",resource="clusters",scope="cluster",subresource="",verb="WATCH",version="v1alpha1"} 2
apiserver_request_total_other{resource="pods",verb="POST"} 9
`

func TestRequestsAreSummedUpOverCodesAndGroups(t *testing.T) {
	got, err := ParseRequests([]byte(exposition))
	if err != nil {
		t.Fatal(err)
	}
	want := Requests{
		{"POST", "bundledeployments"}: 3000,
		{"PATCH", "bundles/status"}:   12,
		{"PUT", "leases"}:             4,
		{"GET", "leases"}:             6,
		{"LIST", "clusters"}:          3,
		{"WATCH", "clusters"}:         2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Requests{{"LIST", "clusters"}: 3}, got.Reads()); diff != "" {
		t.Errorf("reads: %s", diff)
	}
	for _, noWrite := range []Request{{"PUT", "leases"}, {"LIST", "clusters"}, {"GET", "leases"}, {"WATCH", "clusters"}} {
		delete(want, noWrite)
	}
	if diff := cmp.Diff(want, got.Writes()); diff != "" {
		t.Errorf("writes: %s", diff)
	}
}

func TestSamples(t *testing.T) {
	for name, test := range map[string]struct {
		line string
		want Sample
		bad  bool
	}{
		"without labels":          {line: `up 1`, want: Sample{"up", map[string]string{}, 1}},
		"with a time":             {line: `up{} 1 1700000000000`, want: Sample{"up", map[string]string{}, 1}},
		"comma and spaces":        {line: `up{a="1", b="2",} 3`, want: Sample{"up", map[string]string{"a": "1", "b": "2"}, 3}},
		"escapes":                 {line: `up{a="x\"y\\z\n"} 2`, want: Sample{"up", map[string]string{"a": "x\"y\\z\n"}, 2}},
		"a brace in a label":      {line: `up{a="}"} 2`, want: Sample{"up", map[string]string{"a": "}"}, 2}},
		"exponent":                {line: `up 1.5e+03`, want: Sample{"up", map[string]string{}, 1500}},
		"no value":                {line: `up{a="1"}`, bad: true},
		"no number":               {line: `up one`, bad: true},
		"no quote at the end":     {line: `up{a="1} 2`, bad: true},
		"ends within an escape":   {line: `up{a="1\`, bad: true},
		"something that is not a": {line: `up{a} 2`, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			var got []Sample
			err := Samples([]byte("# TYPE up gauge\nupper 7\n"+test.line+"\n"), func(s Sample) { got = append(got, s) }, "up")
			if (err != nil) != test.bad {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff([]Sample{test.want}, got); !test.bad && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSumIsOverAllLabels(t *testing.T) {
	got, err := Sum([]byte("x_count{a=\"1\"} 2\nx_count{a=\"2\"} 3\nx_sum 9\n"), "x_count")
	if err != nil || got != 5 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Sum(nil, "x"); err != nil || got != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
}

func TestMinusKeepsWhatIsMore(t *testing.T) {
	post, patch, get := Request{"POST", "a"}, Request{"PATCH", "a/status"}, Request{"GET", "a"}
	got := Requests{post: 5, patch: 2, get: 1}.Minus(Requests{post: 3, patch: 2, get: 4})
	if diff := cmp.Diff(Requests{post: 2}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSortedShowsTheMostFrequentFirst(t *testing.T) {
	a, b, c := Request{"POST", "a"}, Request{"POST", "b"}, Request{"POST", "c"}
	got := Requests{c: 1, b: 1, a: 1, {"PUT", "z"}: 9}.Sorted()
	if diff := cmp.Diff([]Request{{"PUT", "z"}, a, b, c}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMeterCountsLikeAnAPIServer(t *testing.T) {
	for _, test := range []struct {
		method, url, contentType string
		want                     Request
	}{
		{method: "GET", url: "/api/v1/namespaces", want: Request{"LIST", "namespaces"}},
		{method: "GET", url: "/api/v1/namespaces/a", want: Request{"GET", "namespaces"}},
		{method: "PUT", url: "/api/v1/namespaces/a/finalize", want: Request{"PUT", "namespaces/finalize"}},
		{method: "GET", url: "/api/v1/namespaces/a/secrets", want: Request{"LIST", "secrets"}},
		{method: "GET", url: "/api/v1/namespaces/a/secrets/s", want: Request{"GET", "secrets"}},
		{method: "GET", url: "/apis/fleet.cattle.io/v1alpha1/bundledeployments?watch=true", want: Request{"WATCH", "bundledeployments"}},
		{method: "POST", url: "/apis/fleet.cattle.io/v1alpha1/namespaces/a/bundles", want: Request{"POST", "bundles"}},
		{
			method: "PATCH", url: "/apis/fleet.cattle.io/v1alpha1/namespaces/a/bundles/b/status", contentType: "application/merge-patch+json",
			want: Request{"PATCH", "bundles/status"},
		},
		{
			method: "PATCH", url: "/apis/rbac.authorization.k8s.io/v1/clusterroles/r", contentType: "application/apply-patch+yaml",
			want: Request{"APPLY", "clusterroles"},
		},
		{method: "DELETE", url: "/apis/fleet.cattle.io/v1alpha1/namespaces/a/bundles/b", want: Request{"DELETE", "bundles"}},
		{method: "DELETE", url: "/apis/fleet.cattle.io/v1alpha1/namespaces/a/bundles", want: Request{"DELETECOLLECTION", "bundles"}},
	} {
		meter := &Meter{}
		request := httptest.NewRequest(test.method, test.url, nil)
		request.Header.Set("Content-Type", test.contentType)
		passed := false
		transport := meter.Wrap(roundTripper(func(*http.Request) (*http.Response, error) {
			passed = true
			return nil, http.ErrServerClosed
		}))
		if _, err := transport.RoundTrip(request); err == nil || !passed {
			t.Errorf("%s %s: was not passed on", test.method, test.url)
		}
		if diff := cmp.Diff(Requests{test.want: 1}, meter.Count()); diff != "" {
			t.Errorf("%s %s: %s", test.method, test.url, diff)
		}
	}
}

func TestMeterLeavesOutWhatIsAboutNoResource(t *testing.T) {
	for _, url := range []string{"/metrics", "/readyz", "/api/v1", "/apis/fleet.cattle.io/v1alpha1", "/"} {
		if r, ok := RequestOf(httptest.NewRequest(http.MethodGet, url, nil)); ok {
			t.Errorf("%s is taken for %s", url, r)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
