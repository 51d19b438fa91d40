package charts

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// origin is where a chart is that is named by one address: the forms are those
// of go-getter, as far as they name a server.
type origin struct {
	way way
	// url is the address to ask, without what the fields below say.
	url string
	// folder is the part of the archive or repository that is the chart; "." is
	// the whole.
	folder string
	// ref is the branch, tag or commit of a repository.
	ref string
	// sshKey is a private key for a repository.
	sshKey []byte
	// sum is what the archive must be; nil if it is not said.
	sum *checksum
}

// way is how a chart is fetched.
type way string

const (
	byHTTP     way = "http"
	byGit      way = "git"
	byRegistry way = "oci"
)

var (
	forced = regexp.MustCompile(`^([a-z0-9]+)::(.*)$`)
	// short is the form github.com/owner/repository/folder.
	short = regexp.MustCompile(`^((?:github\.com|gitlab\.com|bitbucket\.org)/[^/?]+/[^/?]+)(?:/([^?]*))?(\?.*)?$`)
	// scp is the form user@host:path.
	scp = regexp.MustCompile(`^([A-Za-z0-9._-]+)@([A-Za-z0-9._-]+):([^/:].*)$`)
)

// parseOrigin takes an address apart. Errors do not quote it.
func parseOrigin(address string) (origin, error) {
	var o origin
	if m := forced.FindStringSubmatch(address); m != nil {
		address = m[2]
		switch m[1] {
		case "git", "ssh":
			o.way = byGit
		case "http", "https":
			o.way = byHTTP
		default:
			return o, fmt.Errorf("the form %s:: is not supported: use git::, an address that begins with https:// or oci://, or a folder", m[1])
		}
	}
	switch {
	case short.MatchString(address):
		m := short.FindStringSubmatch(address)
		o.way = byGit
		folder := strings.TrimPrefix(m[2], "/")
		address = "https://" + strings.TrimSuffix(m[1], ".git") + ".git"
		if folder != "" {
			address += "//" + folder
		}
		address += m[3]
	case scp.MatchString(address):
		m := scp.FindStringSubmatch(address)
		o.way = byGit
		address = "ssh://" + m[1] + "@" + m[2] + "/" + m[3]
	}
	return o.parseURL(address)
}

func (o origin) parseURL(address string) (origin, error) {
	u, err := url.Parse(address)
	if err != nil {
		return o, errors.New("the address cannot be parsed")
	}
	switch u.Scheme {
	case "oci":
		o.way = byRegistry
	case "ssh":
		o.way = byGit
	case "http", "https":
		if o.way == "" {
			o.way = byHTTP
		}
	default:
		return o, errors.New("the protocol must be https, http, ssh or oci")
	}
	if u.Host == "" {
		return o, errors.New("the address names no host")
	}
	o.folder = "."
	if o.way != byRegistry {
		if err := o.takeFolder(u); err != nil {
			return o, err
		}
		if err := o.takeQuery(u); err != nil {
			return o, err
		}
	}
	o.url = u.String()
	return o, nil
}

// takeFolder takes the folder off an address: what follows two slashes.
func (o *origin) takeFolder(u *url.URL) error {
	base, folder, found := strings.Cut(u.Path, "//")
	if !found {
		return nil
	}
	u.Path, u.RawPath = base, ""
	o.folder = path.Clean(strings.Trim(folder, "/"))
	if !fs.ValidPath(o.folder) {
		return errors.New("the folder in the address leads out of what is fetched")
	}
	return nil
}

// takeQuery takes what is said to us, not to the server, off an address.
func (o *origin) takeQuery(u *url.URL) error {
	query := u.Query()
	query.Del("depth") // no history is fetched anyway
	take := o.takeArchive
	if o.way == byGit {
		take = o.takeRepository
	}
	if err := take(query); err != nil {
		return err
	}
	u.RawQuery = query.Encode()
	return nil
}

// takeRepository takes what names a commit, and how to get at it.
func (o *origin) takeRepository(query url.Values) error {
	o.ref = query.Get("ref")
	key, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(query.Get("sshkey"), " ", "+"))
	if err != nil {
		return errors.New("sshkey in the address is not base64")
	}
	o.sshKey = key
	query.Del("ref")
	query.Del("sshkey")
	if len(query) > 0 {
		return errors.New("the address of a Git repository may say ref, depth and sshkey, and nothing else, behind its question mark")
	}
	return nil
}

// takeArchive takes what says what an archive must be.
func (o *origin) takeArchive(query url.Values) error {
	var err error
	if o.sum, err = parseChecksum(query.Get("checksum")); err != nil {
		return err
	}
	if query.Get("archive") == "false" {
		return errors.New("archive=false in the address: a chart is always an archive")
	}
	query.Del("checksum")
	query.Del("archive")
	return nil
}
