package charts

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

// key names a chart on disk.
func key(ref bundlereader.ChartRef) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{ref.Chart, ref.Repo, ref.Version}, "\x00")))
	return hex.EncodeToString(sum[:])
}
