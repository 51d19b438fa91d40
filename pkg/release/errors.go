package release

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
)

// ErrForeign says that a release, or its name, belongs to somebody else.
var ErrForeign = errors.New("the release belongs to somebody else")

// LacksKind says whether an Apply failed because the API server does not serve
// the kind of an object. No object of the release was changed then.
func LacksKind(err error) bool {
	if err == nil {
		return false
	}
	var kind *meta.NoKindMatchError
	// Some of the code that Helm builds on passes on only the text.
	return errors.As(err, &kind) || strings.Contains(err.Error(), "no matches for kind")
}
