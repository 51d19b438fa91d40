package charts

import (
	"crypto/md5"  //nolint:gosec // users compare with what publishers give
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// checksum is what an archive must be.
type checksum struct{ kind, digest string }

// parseChecksum reads type:hex or, where the length tells the type, hex alone.
// Of nothing it makes nil.
func parseChecksum(text string) (*checksum, error) {
	if text == "" {
		return nil, nil
	}
	kind, digest, found := strings.Cut(strings.ToLower(text), ":")
	if !found {
		digest = kind
		kind = map[int]string{32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}[len(digest)]
	}
	decoded, err := hex.DecodeString(digest)
	if h := hashOf(kind); err != nil || h == nil || h.Size() != len(decoded) {
		return nil, errors.New("checksum in the address must be sha256:HEX, or the same with sha512, sha1 or md5")
	}
	return &checksum{kind, digest}, nil
}

func hashOf(kind string) hash.Hash {
	switch kind {
	case "md5":
		return md5.New() //nolint:gosec // as above
	case "sha1":
		return sha1.New() //nolint:gosec // as above
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	default:
		return nil
	}
}

// check says whether data is what it must be.
func (c *checksum) check(data []byte) error {
	if c == nil {
		return nil
	}
	h := hashOf(c.kind)
	h.Write(data)
	if got := hex.EncodeToString(h.Sum(nil)); got != c.digest {
		return fmt.Errorf("the archive is not what its address says: its %s is %s, not %s", c.kind, got, c.digest)
	}
	return nil
}
