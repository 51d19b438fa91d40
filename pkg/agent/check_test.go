package agent

import (
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSilentAgent(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	seconds := int32(180)
	lease := func(renewed time.Time) *coordinationv1.Lease {
		return &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: renewed}, LeaseDurationSeconds: &seconds}}
	}
	for name, tt := range map[string]struct {
		lease *coordinationv1.Lease
		says  string
	}{
		"renewed now":             {lease(now), ""},
		"renewed just in time":    {lease(now.Add(-180 * time.Second)), ""},
		"renewed too long ago":    {lease(now.Add(-181 * time.Second)), "the last heartbeat of the agent was at 2026-01-01T11:56:59Z"},
		"never renewed":           {&coordinationv1.Lease{}, "no heartbeat"},
		"by a clock that is fast": {lease(now.Add(time.Hour)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := silent(tt.lease, now)
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("it says %v, want %q", err, tt.says)
			}
		})
	}
}
