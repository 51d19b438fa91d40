package source

import (
	"net"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

const maxAddress = 2048

// scpForm is user@host:path, the short form of an SSH address.
var scpForm = regexp.MustCompile(`^(?:([^@/:\s]+)@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9a-fA-F:.]+\]):([^\s].*)$`)

// address is where a repository lives.
type address struct {
	scheme   string // http, https or ssh
	host     string // with the port, if one is given
	path     string
	user     string
	password string
}

// parseAddress reads a clone URL. Errors never quote what may hold a password.
func parseAddress(raw string) (address, error) {
	switch {
	case raw == "":
		return address{}, refuseAddress("it is empty")
	case len(raw) > maxAddress:
		return address{}, refuseAddress("it is too long")
	case strings.ContainsFunc(raw, func(c rune) bool { return unicode.IsControl(c) || unicode.IsSpace(c) }):
		return address{}, refuseAddress("it contains spaces or control characters")
	case strings.HasPrefix(raw, "-"):
		return address{}, refuseAddress("it begins with a dash")
	case strings.Contains(raw, "://"):
		return parseURL(raw)
	default:
		return parseSCP(raw)
	}
}

func refuseAddress(why string) error {
	return &refusal{reason: Invalid, text: "the repository address cannot be used: " + why,
		hint: "use https://host/path, ssh://user@host/path or user@host:path"}
}

func parseURL(raw string) (address, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return address{}, refuseAddress("it cannot be parsed")
	}
	addr := address{scheme: strings.ToLower(u.Scheme), host: u.Host, path: u.EscapedPath(), user: u.User.Username()}
	addr.password, _ = u.User.Password()
	switch {
	case !addr.isHTTP() && addr.scheme != "ssh":
		return address{}, refuseAddress("the protocol " + strings.ToValidUTF8(addr.scheme, "?") + " is not supported")
	case u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-"):
		return address{}, refuseAddress("it has no valid host")
	case u.RawQuery != "" || u.Fragment != "":
		return address{}, refuseAddress("it has a query or a fragment")
	case addr.isHTTP():
		return addr, nil
	case strings.Trim(u.Path, "/") == "":
		return address{}, refuseAddress("it has no path")
	}
	addr.path = u.Path
	// A path below a home directory is written ssh://host/~user/path.
	if strings.HasPrefix(addr.path, "/~") {
		addr.path = addr.path[1:]
	}
	return addr, nil
}

func parseSCP(raw string) (address, error) {
	parts := scpForm.FindStringSubmatch(raw)
	if parts == nil {
		return address{}, refuseAddress("it is a local path, or has no host")
	}
	return address{scheme: "ssh", user: parts[1], host: parts[2], path: parts[3]}, nil
}

// url writes the address out, credentials included.
func (a address) url() string {
	user := a.user
	if a.isHTTP() {
		var info *url.Userinfo
		if a.user != "" || a.password != "" {
			info = url.UserPassword(a.user, a.password)
		}
		return (&url.URL{Scheme: a.scheme, User: info, Host: a.host}).JoinPath(a.path).String()
	}
	if user != "" {
		user += "@"
	}
	switch {
	case strings.HasPrefix(a.path, "/"):
		return "ssh://" + user + a.host + a.path
	case strings.HasPrefix(a.path, "~"):
		return "ssh://" + user + a.host + "/" + a.path
	default:
		return user + a.host + ":" + a.path
	}
}

// sameServer says whether credentials for one address may be shown at the
// other.
func (a address) sameServer(b address) bool {
	if a.scheme != b.scheme {
		return false
	}
	if a.isHTTP() {
		return transport.SameOrigin(&url.URL{Scheme: a.scheme, Host: a.host}, &url.URL{Scheme: b.scheme, Host: b.host})
	}
	return strings.EqualFold(a.dialAddress(), b.dialAddress())
}

// isHTTP reports whether the server is spoken to over HTTP or HTTPS.
func (a address) isHTTP() bool { return a.scheme == "http" || a.scheme == "https" }

// dialAddress is the host and port to connect to over SSH.
func (a address) dialAddress() string {
	u := url.URL{Host: a.host}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// String is the address without user name and password, safe to show.
func (a address) String() string {
	if a.scheme == "" {
		return ""
	}
	path := a.path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return a.scheme + "://" + a.host + path
}

// canonical identifies the address, credentials in it included.
func (a address) canonical() []string {
	return []string{a.scheme, strings.ToLower(a.host), a.path, a.user, a.password}
}
