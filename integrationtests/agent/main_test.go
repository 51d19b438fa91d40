// Package agent tests the real agent against a real API server, which is both
// its hub and its cluster. The tests play the manager's part themselves: they
// write deployments, and take finalizers off.
package agent

import (
	"os"
	"testing"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
)

var env *harness.Environment

func TestMain(m *testing.M) {
	os.Exit(harness.Run(m, harness.Options{Workloads: true}, func(e *harness.Environment) { env = e }))
}
