package bundle

import (
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// ResourcesSHA256 returns the digest, in hexadecimal, of the JSON of a bundle's
// resources. It is what a Bundle's status tells; Content names its own.
func ResourcesSHA256(resources []fleet.BundleResource) (string, error) {
	raw, err := marshal(resources)
	if err != nil {
		return "", err
	}
	return sha256Hex(raw), nil
}
