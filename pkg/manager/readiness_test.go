package manager

import "testing"

// A replica that waits for the lease is ready, so that a Deployment of two becomes available; one that has just got the lease is
// not before its caches are complete.
func TestReadiness(t *testing.T) {
	var r readiness
	expect := func(when string, want bool) {
		t.Helper()
		if got := r.ready(); got != want {
			t.Errorf("%s: ready is %t", when, got)
		}
	}
	expect("at the start", false)
	r.waits(true)
	expect("while another leads", true)
	r.waits(false)
	expect("leading, without caches", false)
	synced := false
	r.set(func() bool { return synced })
	expect("while the caches fill", false)
	synced = true
	expect("with caches", true)
}
