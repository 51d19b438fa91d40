package status

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/manager"
)

const auditInterval = 2 * time.Second

// An API server acknowledges a status and loses it, as one does that is restored from a backup. No event tells, so nobody
// but the auditor can see it.
func TestAuditorPutsALostStatusRight(t *testing.T) {
	line := harness.NewLine()
	var told metrics
	env.StartManager(t, func(c *manager.Config) {
		told = serve(t, c)
		c.Hub, c.AuditInterval = line.Through(c.Hub), auditInterval
	})
	ws := env.Workspace(t)
	on := cluster(t, ws, "c", nil)
	key := bundle(t, ws, "web")
	answer(t, key, on)
	awaitSummary(t, key, 1, 0, 1)
	env.AwaitQuiet(t)
	told.await(t, "flotilla_audits_total", 1)
	told.want(t, "flotilla_status_mismatch_total", 0)

	var lost atomic.Int32
	line.Answer(func(req *http.Request) *http.Response {
		if req.Method != http.MethodPatch || !strings.HasSuffix(req.URL.Path, "/bundles/web/status") {
			return nil
		}
		lost.Add(1)
		return acknowledged(t, req, ws)
	})
	env.BundleDeployments.EditStatus(t, deployment(key, on), func(bd *fleet.BundleDeployment) { bd.Status.Ready = false })
	harness.Eventually(t, "a status is lost", func(ctx) error {
		if lost.Load() == 0 {
			return errNotYet
		}
		return nil
	})
	// Whoever looks once more before that writes once more.
	env.AwaitQuiet(t)
	line.Repair()
	awaitSummary(t, key, 0, 0, 1)
	told.await(t, "flotilla_status_mismatch_total", 1)
	told.want(t, "flotilla_missed_events_total", 0)
}

// acknowledged answers like an API server that has written the bundle.
func acknowledged(t *testing.T, req *http.Request, workspace string) *http.Response {
	body, err := json.Marshal(&fleet.Bundle{
		TypeMeta:   metav1.TypeMeta{APIVersion: fleet.SchemeGroupVersion.String(), Kind: "Bundle"},
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "web"},
	})
	if err != nil {
		t.Error(err)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// A watch loses an event and goes on. The auditor sees that the cache is behind.
func TestAuditorSeesLostEvents(t *testing.T) {
	line := harness.NewLine()
	var told metrics
	env.StartManager(t, func(c *manager.Config) {
		told = serve(t, c)
		c.Hub, c.AuditInterval = line.Through(c.Hub), auditInterval
	})
	ws := env.Workspace(t)
	on := cluster(t, ws, "c", nil)
	key := bundle(t, ws, "web")
	answer(t, key, on)
	awaitSummary(t, key, 1, 0, 1)
	env.AwaitQuiet(t)
	told.await(t, "flotilla_audits_total", 1)
	told.want(t, "flotilla_missed_events_total", 0)

	line.Darken()
	env.BundleDeployments.EditStatus(t, deployment(key, on), func(bd *fleet.BundleDeployment) { bd.Status.Ready = false })
	told.await(t, "flotilla_missed_events_total", 1)
	line.Relist()
	awaitSummary(t, key, 0, 0, 1)
}
