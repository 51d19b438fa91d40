package source

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"

	"github.com/go-git/go-git/v5/plumbing"
)

// defaultBranch is what a GitRepo without branch and revision means.
const defaultBranch = "master"

var (
	fullHash  = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)
	shortHash = regexp.MustCompile(`^[0-9a-fA-F]{7,39}$`)
)

// Request names a commit of a repository, and how to get at it.
type Request struct {
	// URL is the clone address: http(s)://, ssh:// or user@host:path.
	URL string
	// Branch is the branch to follow. With neither Branch nor Revision it is "master".
	Branch string
	// Revision is a tag or a commit, full or abbreviated to at least seven
	// digits. It wins over Branch.
	Revision string
	// Auth may be nil.
	Auth *Auth
	// CABundle holds PEM certificates that are trusted besides the system's.
	CABundle []byte
	// InsecureSkipTLSVerify accepts any certificate.
	InsecureSkipTLSVerify bool
}

// Identity tells requests apart that use another repository, credential or way
// to check the server. It gives nothing of them away.
func (r Request) Identity() string {
	key := r.URL // What cannot be used identifies itself.
	if t, err := newTarget(r); err == nil {
		key = t.listingKey()
	}
	return digest([]string{key})
}

// target is a request that has been checked.
type target struct {
	Request
	addr    address
	secrets *redactor
}

func newTarget(req Request) (target, error) {
	addr, err := parseAddress(req.URL)
	t := target{Request: req, addr: addr, secrets: newRedactor(addr, req.Auth)}
	if err != nil {
		return t, err
	}
	if t.Branch == "" && t.Revision == "" {
		t.Branch = defaultBranch
	}
	if t.Revision != "" {
		return t, checkRefName("revision", t.Revision)
	}
	return t, checkRefName("branch", t.Branch)
}

// checkRefName applies git's own rules. Names are only ever compared with what
// a server lists, but a name that git refuses is a mistake worth reporting.
func checkRefName(field, name string) error {
	full := plumbing.NewBranchReferenceName(name)
	if len(name) > 255 || full.Validate() != nil {
		return &refusal{
			reason: Invalid,
			hint:   "see git help check-ref-format",
			text:   fmt.Sprintf("%q is not a valid %s", truncate(name), field),
		}
	}
	return nil
}

func truncate(name string) string {
	if len(name) > 80 {
		return name[:80] + "…"
	}
	return name
}

// key names the mirror: the same address with the same credentials. Each part
// is preceded by its length, so that no two lists of parts look alike.
func (t target) key() string {
	parts := t.addr.canonical()
	if t.Auth != nil {
		parts = append(parts, t.Auth.parts()...)
	}
	return digest(parts)[:32]
}

// digest is a name for a list of texts that gives nothing of them away.
func digest(parts []string) string {
	digest := sha256.New()
	for _, part := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		digest.Write(size[:])
		digest.Write([]byte(part))
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// pinned returns the commit if the request names one in full. Such a request
// needs no server once the commit is there.
func (t target) pinned() (plumbing.Hash, bool) {
	if fullHash.MatchString(t.Revision) {
		return plumbing.NewHash(t.Revision), true
	}
	return plumbing.ZeroHash, false
}
