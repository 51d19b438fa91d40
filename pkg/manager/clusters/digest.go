package clusters

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
)

// fingerprint returns a digest of objects, to compare what should be with what was done.
func fingerprint(objects ...runtime.Object) (string, error) {
	digest := sha256.New()
	encoder := json.NewEncoder(digest)
	for _, object := range objects {
		if err := encoder.Encode(object); err != nil {
			return "", fmt.Errorf("encoding %T: %w", object, err)
		}
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// digestOf returns a digest of a setting.
func digestOf(setting any) string {
	digest := sha256.New()
	// What is encoded here came from JSON.
	_ = json.NewEncoder(digest).Encode(setting)
	return hex.EncodeToString(digest.Sum(nil))
}
