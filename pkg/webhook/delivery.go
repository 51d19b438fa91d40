package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Provider is a kind of Git host.
type Provider string

// The kinds of Git hosts whose deliveries are understood. Gogs stands for
// Gitea and Forgejo, too.
const (
	GitHub          Provider = "GitHub"
	GitLab          Provider = "GitLab"
	BitbucketCloud  Provider = "Bitbucket"
	BitbucketServer Provider = "Bitbucket Server"
	Gogs            Provider = "Gogs or Gitea"
	AzureDevOps     Provider = "Azure DevOps"
)

// maxChanges bounds how many refs of one delivery are looked at.
const maxChanges = 1000

// ErrUnknown is returned for a request that is no delivery of a Git host that
// is known.
var ErrUnknown = errors.New("the request has no header of GitHub, GitLab, Bitbucket, Gogs, Gitea or Azure DevOps")

// Change is one ref that was pushed.
type Change struct {
	// Ref is its full name, such as refs/heads/main.
	Ref string
	// Commit is the commit that it points to now, as far as the host tells;
	// empty if the ref was deleted.
	Commit string
}

// Delivery is a request of a Git host.
type Delivery struct {
	// Provider is the kind of host, as the request says.
	Provider Provider
	// Event is what the host calls the event, safe to show.
	Event string
	// Repositories are the addresses of the repository that was pushed to, in
	// the form of [Repository]; all of them mean the same one.
	Repositories []string
	// Changes are the refs that were pushed: none if the event is no push.
	Changes []Change

	header http.Header
	body   []byte
}

// Read reads a delivery. It says nothing about who sent it: see Prove. The
// error is ErrUnknown, or says what is wrong with the body; it quotes nothing
// of it.
func Read(header http.Header, body []byte) (*Delivery, error) {
	f, ok := find(header)
	if !ok {
		return nil, ErrUnknown
	}
	d := &Delivery{Provider: f.provider, header: header, body: body}
	content, err := unwrap(header, body)
	if err != nil {
		return nil, err
	}
	d.Event = shown(f.event(header, content))
	p, err := f.read(content)
	if err != nil {
		return nil, fmt.Errorf("the body is not what %s sends: %w", f.provider, err)
	}
	for _, address := range p.addresses {
		if name, ok := Repository(address); ok {
			d.Repositories = append(d.Repositories, name)
		}
	}
	if f.pushes(d.Event) {
		d.Changes = p.changes[:min(len(p.changes), maxChanges)]
	}
	return d, nil
}

// push is what is read of a body.
type push struct {
	addresses []string
	changes   []Change
}

func (p *push) address(addresses ...string) { p.addresses = append(p.addresses, addresses...) }

// change adds a ref; a commit that is not one is left out.
func (p *push) change(ref, commit string) {
	if !strings.HasPrefix(ref, "refs/") || strings.ContainsAny(ref, "\x00\r\n") {
		return
	}
	commit = strings.ToLower(commit)
	if !commitName.MatchString(commit) || strings.Trim(commit, "0") == "" {
		commit = ""
	}
	p.changes = append(p.changes, Change{Ref: ref, Commit: commit})
}

var commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)

// unwrap returns the JSON of a body, which GitHub and Gogs may send as the
// field of a form.
func unwrap(header http.Header, body []byte) ([]byte, error) {
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the body is not a form, as its Content-Type says: choose the content type application/json")
	}
	return []byte(form.Get("payload")), nil
}

// shown makes a word of a request safe to log and to answer with.
func shown(word string) string {
	const most = 40
	word = strings.Map(func(c rune) rune {
		if c == ':' || c == '_' || c == '.' || c == ' ' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return c
		}
		return '?'
	}, word)
	return word[:min(len(word), most)]
}

// decode reads JSON without quoting any of it in errors.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return fmt.Errorf("the field %s has another type", shown(wrong.Field))
	default:
		return errors.New("it is not JSON")
	}
}
