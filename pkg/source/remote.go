package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

const (
	// maxAdvertisement bounds the list of refs that a server may send, in bytes.
	maxAdvertisement = 64 << 20
	// maxTips bounds how many refs a fetch of the whole history may ask for.
	maxTips = 20_000
)

// remote is one conversation with a git server in protocol version 0: it
// lists its refs, then, if asked, sends one pack.
type remote interface {
	// refs returns the server's advertisement as it comes over the wire.
	refs(ctx context.Context) (io.ReadCloser, error)
	// pack sends a request and returns the answer as it comes over the wire.
	pack(ctx context.Context, request []byte) (io.ReadCloser, error)
	// close ends the conversation.
	close()
}

// advertisement is what a server offers.
type advertisement struct {
	refs   map[string]plumbing.Hash
	peeled map[string]plumbing.Hash // annotated tags: the commit they point to
	caps   *capability.List
}

// wanted is what a request resolves to among the refs of a server.
type wanted struct {
	// object is what to ask the server for: a commit or an annotated tag.
	object plumbing.Hash
	// commit is the commit meant, zero if only the history can tell.
	commit plumbing.Hash
	// history says that the server must be asked for everything, because it
	// does not hand out a commit that no ref points to.
	history bool
}

// listRefs reads the server's advertisement.
func listRefs(ctx context.Context, r remote) (advertisement, error) {
	body, err := r.refs(ctx)
	if err != nil {
		return advertisement{}, err
	}
	defer body.Close()
	limited := &limitedReader{r: body, left: maxAdvertisement, what: "list of refs"}
	decoded := packp.NewAdvRefs()
	err = decoded.Decode(bufio.NewReader(limited))
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
	case limited.err != nil:
		return advertisement{}, limited.err
	case err != nil:
		return advertisement{}, fmt.Errorf("reading the list of refs: %w", serverText(err))
	}
	if len(decoded.References) == 0 {
		return advertisement{}, &refusal{reason: RefNotFound, hint: "push a commit", text: "the repository is empty"}
	}
	return advertisement{refs: decoded.References, peeled: decoded.Peeled, caps: decoded.Capabilities}, nil
}

// resolve finds what the request means.
func (a advertisement) resolve(t target) (wanted, error) {
	if t.Revision == "" {
		hash, ok := a.refs["refs/heads/"+t.Branch]
		if !ok {
			return wanted{}, a.missing("branch", t.Branch)
		}
		return wanted{object: hash, commit: hash}, nil
	}
	for _, name := range []string{"refs/tags/" + t.Revision, t.Revision, "refs/" + t.Revision} {
		if hash, ok := a.refs[name]; ok && strings.HasPrefix(name, "refs/") {
			return wanted{object: hash, commit: a.peel(name, hash)}, nil
		}
	}
	if commit, ok := t.pinned(); ok {
		_, tip := a.tip(commit)
		return wanted{object: commit, commit: commit, history: !tip && !a.servesAnyCommit()}, nil
	}
	if shortHash.MatchString(t.Revision) {
		return a.resolveShort(strings.ToLower(t.Revision))
	}
	return wanted{}, a.missing("tag or commit", t.Revision)
}

// resolveShort looks for an abbreviated commit among the refs; if none of them
// matches, only the history can tell.
func (a advertisement) resolveShort(prefix string) (wanted, error) {
	var found plumbing.Hash
	for name, hash := range a.refs {
		commit := a.peel(name, hash)
		if !strings.HasPrefix(commit.String(), prefix) {
			continue
		}
		if !found.IsZero() && found != commit {
			return wanted{}, &refusal{reason: RefNotFound, hint: "write more digits", text: "the abbreviated commit " + prefix + " is ambiguous"}
		}
		found = commit
	}
	if found.IsZero() {
		return wanted{history: true}, nil
	}
	object, _ := a.tip(found)
	return wanted{object: object, commit: found}, nil
}

// peel returns the commit that a ref points to. Servers list annotated tags
// together with their commits.
func (a advertisement) peel(name string, hash plumbing.Hash) plumbing.Hash {
	if commit, ok := a.peeled[name]; ok {
		return commit
	}
	return hash
}

// tip returns the object that a ref must be asked for to get the commit, and
// whether there is such a ref. A peeled commit cannot be asked for itself.
func (a advertisement) tip(commit plumbing.Hash) (plumbing.Hash, bool) {
	for _, hash := range a.refs {
		if hash == commit {
			return hash, true
		}
	}
	for name, peeled := range a.peeled {
		if peeled == commit {
			return a.refs[name], true
		}
	}
	return commit, false
}

func (a advertisement) servesAnyCommit() bool {
	return a.caps.Supports(capability.AllowReachableSHA1InWant) || a.caps.Supports("allow-any-sha1-in-want")
}

func (a advertisement) servesShallow() bool { return a.caps.Supports(capability.Shallow) }

// tips lists every branch and tag.
func (a advertisement) tips() ([]plumbing.Hash, error) {
	var tips []plumbing.Hash
	for name, hash := range a.refs {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			tips = append(tips, hash)
		}
	}
	if len(tips) > maxTips {
		return nil, fmt.Errorf("%w: %d branches and tags, the limit is %d", errTooLarge, len(tips), maxTips)
	}
	return tips, nil
}

// missing says that a ref is not there and, for the commonest mistake, what is.
func (a advertisement) missing(what, name string) error {
	refused := &refusal{reason: RefNotFound, text: fmt.Sprintf("the repository has no %s %q", what, truncate(name))}
	for _, other := range []string{"main", "master"} {
		if _, ok := a.refs["refs/heads/"+other]; ok && other != name {
			refused.hint = fmt.Sprintf("it has a branch %q", other)
			break
		}
	}
	return refused
}

// transfer is what is asked of a server.
type transfer struct {
	wants []plumbing.Hash
	haves []plumbing.Hash
	// shallow asks for the commits without their history, and says that haves
	// have none either.
	shallow bool
}

// open sends the request for a pack and returns the pack. The reader measures
// nothing.
func (tr transfer) open(ctx context.Context, r remote, caps *capability.List) (io.ReadCloser, error) {
	req := packp.NewUploadPackRequestFromCapabilities(caps)
	if caps.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress)
	}
	req.Wants, req.Haves = tr.wants, tr.haves
	if tr.shallow {
		_ = req.Capabilities.Set(capability.Shallow)
		req.Depth = packp.DepthCommits(1)
		req.Shallows = append(req.Shallows, tr.haves...)
	} else {
		// A pack that leaves out what its objects build on can only be stored
		// object by object; a history is too many for that.
		req.Capabilities.Delete(capability.ThinPack)
	}
	var body bytes.Buffer
	if err := errors.Join(req.UploadRequest.Encode(&body), req.UploadHaves.Encode(&body, false)); err != nil {
		return nil, fmt.Errorf("composing the request: %w", err)
	}
	if err := pktline.NewEncoder(&body).EncodeString("done\n"); err != nil {
		return nil, fmt.Errorf("composing the request: %w", err)
	}
	stream, err := r.pack(ctx, body.Bytes())
	if err != nil {
		return nil, err
	}
	response := packp.NewUploadPackResponse(req)
	if err := response.Decode(stream); err != nil {
		stream.Close()
		return nil, fmt.Errorf("reading the answer: %w", serverText(err))
	}
	return &packReader{Reader: demultiplex(req.Capabilities, response), Closer: stream}, nil
}

type packReader struct {
	io.Reader
	io.Closer
}

func demultiplex(caps *capability.List, r io.Reader) io.Reader {
	switch {
	case caps.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case caps.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	default:
		return r
	}
}

// serverText unwraps what a server says in words.
func serverText(err error) error {
	var line *pktline.ErrorLine
	if !errors.As(err, &line) {
		return err
	}
	return saidByServer(line.Text)
}

// saidByServer classifies an error message of a git server. There is no other
// way: the protocol has no codes.
func saidByServer(text string) error {
	lower := strings.ToLower(text)
	refused := &refusal{reason: Invalid, text: "the server says: " + text}
	for _, sign := range []string{"not found", "does not exist", "not appear to be a git repo", "no such repository", "could not be found"} {
		if strings.Contains(lower, sign) {
			refused.reason, refused.hint = NotFound, "check the address, and that the credentials may read it"
			return refused
		}
	}
	for _, sign := range []string{"permission denied", "access denied", "not authorized", "unauthorized", "authentication"} {
		if strings.Contains(lower, sign) {
			refused.reason, refused.hint = AuthenticationFailed, "check the credentials"
			return refused
		}
	}
	if strings.Contains(lower, "not our ref") {
		refused.reason = RefNotFound
	}
	return refused
}

// limitedReader fails, instead of ending, when more than left bytes come.
type limitedReader struct {
	r    io.Reader
	left int64
	what string
	err  error
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		l.err = fmt.Errorf("%w: the %s exceeds its limit", errTooLarge, l.what)
		return n - 1, l.err
	}
	return n, err
}
