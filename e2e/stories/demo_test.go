package stories

import (
	"os"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/playground/demo"
)

// The story of `make demo` is the story that every change has to pass.
func TestDemo(t *testing.T) {
	if err := demo.Run(t.Context(), flotilla, demo.Options{Out: os.Stdout}); err != nil {
		t.Fatal(err)
	}
}
