package clusters

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// digestOf returns a digest of a setting.
func digestOf(setting any) string {
	digest := sha256.New()
	// What is encoded here came from JSON.
	_ = json.NewEncoder(digest).Encode(setting)
	return hex.EncodeToString(digest.Sum(nil))
}
