package apiserver

import (
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/bench/counters"
)

func TestActivityIsWritesAndReconciles(t *testing.T) {
	post := counters.Request{Verb: "POST", Resource: "bundles"}
	base := Activity{counters.Requests{post: 1}, 5}
	if !base.equal(Activity{counters.Requests{post: 1}, 5}) {
		t.Error("the same is not equal")
	}
	if base.equal(Activity{counters.Requests{post: 2}, 5}) {
		t.Error("another write went unnoticed")
	}
	if base.equal(Activity{counters.Requests{post: 1}, 6}) {
		t.Error("another reconcile went unnoticed")
	}
}
