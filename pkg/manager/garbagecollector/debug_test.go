package garbagecollector

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/ownership"
)

func ask(t *testing.T, d *Debug, query string) (int, debugPage, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	d.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/debug/ownership"+query, nil))
	var page debugPage
	body := answer.Body.String()
	if answer.Code == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
	}
	return answer.Code, page, body
}

func TestDebugEndpoint(t *testing.T) {
	var d Debug
	if code, _, _ := ask(t, &d, ""); code != http.StatusServiceUnavailable {
		t.Errorf("before there is a graph it answers %d", code)
	}
	c := &controller{graph: ownership.NewGraph(), ledgers: newLedgers()}
	web := ownership.IDOf(ownership.KindBundle, "ws", "web")
	content := ownership.IDOf(ownership.KindContent, "", "s-secretdigest")
	c.graph.Put(ownership.Object{ID: web, Leaving: true})
	c.graph.Put(ownership.Object{ID: content})
	for _, cluster := range []string{"c1", "c2", "c3"} {
		id := ownership.IDOf(ownership.KindDeployment, cluster, "web")
		c.graph.Put(ownership.Object{ID: id, Refs: []ownership.ID{web, content}})
		if cluster == "c2" {
			c.ledgers.with(web, func(l *ledger) { l.held = map[ownership.ID]string{id: fleet.ReasonSideEffects} })
		}
	}
	d.source.Store(c)
	_, page, body := ask(t, &d, "")
	if strings.Contains(body, "secretdigest") {
		t.Error("it shows the name of a Content")
	}
	if len(page.Nodes) != 4 || page.Nodes[0].Kind != "Bundle" || page.Nodes[0].Dependents != 3 || page.Nodes[0].Unmarked != 3 {
		t.Errorf("got %s", body)
	}
	var seen []string
	for query := "?kind=BundleDeployment&limit=2"; query != ""; {
		_, page, _ := ask(t, &d, query)
		for _, n := range page.Nodes {
			seen = append(seen, n.Namespace+n.Held)
		}
		if query = ""; page.Next != "" {
			query = "?kind=BundleDeployment&limit=2&after=" + page.Next
		}
	}
	if want := []string{"c1", "c2" + fleet.ReasonSideEffects, "c3"}; !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
	if _, page, _ := ask(t, &d, "?state=Leaving"); len(page.Nodes) != 1 || page.Nodes[0].Name != "web" {
		t.Errorf("leaving is %+v", page.Nodes)
	}
	if _, page, _ := ask(t, &d, "?namespace=c3"); len(page.Nodes) != 1 {
		t.Errorf("in c3 is %+v", page.Nodes)
	}
	for _, query := range []string{"?kind=Content", "?kind=Pod", "?limit=0", "?limit=1001", "?limit=x", "?state=Gone", "?after=%21"} {
		if code, _, _ := ask(t, &d, query); code != http.StatusBadRequest {
			t.Errorf("%s is answered with %d", query, code)
		}
	}
}
