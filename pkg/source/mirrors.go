package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/sirupsen/logrus"

	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

const (
	defaultMaxBytes       = 512 << 20
	defaultMaxObjects     = 300_000
	defaultMaxObjectBytes = 100 << 20
	defaultMaxFileBytes   = 32 << 20
	defaultTimeout        = 2 * time.Minute
	defaultKeepUnused     = 15 * time.Minute
	maxHeadTimeout        = 30 * time.Second

	// historySuffix sets the mirror with whole histories apart from the one
	// without: mixing them would need the server's help at every fetch.
	historySuffix = "-history"
)

// mirrorName is what a mirror's directory may be called.
var mirrorName = regexp.MustCompile(`^[0-9a-f]{32}(` + historySuffix + `)?$`)

// Limits bound what one repository may take. Zero means the default.
type Limits struct {
	// MaxBytes bounds one pack as it comes over the wire (512 MiB). What it
	// unpacks to may be sixteen times as much.
	MaxBytes int64
	// MaxObjects bounds the number of objects in one pack (300,000).
	MaxObjects int
	// MaxObjectBytes bounds a single object in a pack, unpacked (100 MiB).
	MaxObjectBytes int64
	// MaxFileBytes bounds a file that is read from a snapshot (32 MiB).
	MaxFileBytes int64
	// Timeout bounds a fetch from beginning to end (2 minutes); for Head it is
	// at most 30 seconds.
	Timeout time.Duration
	// KeepUnused is for how long after its last use a mirror stays that no
	// request needs any more (15 minutes): longer than anybody reads from it, and
	// long enough for charts, whose repositories no request is for, to be read
	// again from it by a few commits in a row.
	KeepUnused time.Duration
}

func (l Limits) withDefaults() Limits {
	set := func(value *int64, byDefault int64) {
		if *value <= 0 {
			*value = byDefault
		}
	}
	set(&l.MaxBytes, defaultMaxBytes)
	set(&l.MaxObjectBytes, defaultMaxObjectBytes)
	set(&l.MaxFileBytes, defaultMaxFileBytes)
	if l.MaxObjects <= 0 {
		l.MaxObjects = defaultMaxObjects
	}
	if l.Timeout <= 0 {
		l.Timeout = defaultTimeout
	}
	if l.KeepUnused <= 0 {
		l.KeepUnused = defaultKeepUnused
	}
	return l
}

// Mirrors keeps mirrors of repositories in a directory. It is safe for
// concurrent use by one process.
type Mirrors struct {
	dir    string
	limits Limits
	log    logrus.FieldLogger
	pools  *transport.Pools
	now    func() time.Time

	// listings are by address, credential and trust, gates by host, tokens by installation and the API's address and trust.
	listings *shelf[*listing]
	gates    *shelf[*gate]
	tokens   *shelf[*appToken]

	mu      sync.Mutex
	mirrors map[string]*mirror
}

// NewMirrors keeps mirrors below dir, which it creates if need be. What is
// there from an earlier process is used again.
func NewMirrors(dir string, limits Limits, log logrus.FieldLogger) (*Mirrors, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the directory of mirrors: %w", err)
	}
	leftovers, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("cleaning the directory of mirrors: %w", err)
	}
	for _, name := range leftovers {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("cleaning the directory of mirrors: %w", err)
		}
	}
	return &Mirrors{
		dir:    dir,
		limits: limits.withDefaults(),
		log:    log, now: time.Now,
		pools:    transport.NewPools(headerTimeout),
		listings: newShelf(func() *listing { return &listing{} }), gates: newShelf(func() *gate { return &gate{} }), tokens: newShelf(newAppToken),
		mirrors: map[string]*mirror{},
	}, nil
}

// Head returns the commit that the request stands for now: it is Ask of
// nobody but the server, now.
func (m *Mirrors) Head(ctx context.Context, req Request) (string, error) {
	answer, err := m.Ask(ctx, Question{Request: req, Since: time.Now(), Urgent: true})
	return answer.Commit, err
}

// known finds an abbreviated commit that an earlier fetch has resolved.
func (m *Mirrors) known(t target) (string, bool) {
	g, ok := m.mirror(t.key() + historySuffix).latest()
	if !ok {
		return "", false
	}
	var found []string
	for _, mark := range g.marks() {
		if commit := mark.commit.String(); strings.HasPrefix(commit, strings.ToLower(t.Revision)) {
			found = append(found, commit)
		}
	}
	if len(found) != 1 {
		return "", false
	}
	return found[0], true
}

// Open returns a commit that was fetched before, without the network. The
// error is ErrNotFetched if it was not, or is no longer there.
func (m *Mirrors) Open(_ context.Context, req Request, commit string) (*Snapshot, error) {
	t, err := newTarget(req)
	if err != nil {
		return nil, fault("opening", t.addr, t.secrets, err)
	}
	if !fullHash.MatchString(commit) {
		return nil, fmt.Errorf("opening commit %q: %w", truncate(commit), ErrNotFetched)
	}
	if snapshot, ok := m.open(t, plumbing.NewHash(commit)); ok {
		return snapshot, nil
	}
	return nil, fmt.Errorf("opening commit %s: %w", commit, ErrNotFetched)
}

// open looks for a complete commit in both mirrors of a target.
func (m *Mirrors) open(t target, commit plumbing.Hash) (*Snapshot, bool) {
	for _, name := range []string{t.key(), t.key() + historySuffix} {
		g, ok := m.mirror(name).latest()
		if !ok || !g.has(commit) {
			continue
		}
		snapshot, err := m.snapshot(t, g, commit)
		if err == nil {
			m.mirror(name).use(m.now())
			return snapshot, true
		}
		m.log.WithField("repository", t.addr.String()).WithError(err).Warn("Mirror is damaged, it will be fetched anew")
		g.condemn()
	}
	return nil, false
}

// Prune removes the mirrors that no request in keep uses, and that nobody has
// used for a while. It returns when to look again for the others, zero for
// never. A mirror that is being written is left for the next time.
func (m *Mirrors) Prune(keep []Request) (again time.Duration, err error) {
	used := map[string]bool{}
	for _, req := range keep {
		if t, err := newTarget(req); err == nil {
			used[t.key()], used[t.key()+historySuffix] = true, true
		}
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return 0, fmt.Errorf("listing mirrors: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if !mirrorName.MatchString(entry.Name()) || used[entry.Name()] {
			continue
		}
		if left := m.mirror(entry.Name()).lastUse().Add(m.limits.KeepUnused).Sub(m.now()); left > 0 {
			again = max(again, left)
			continue
		}
		errs = append(errs, m.remove(entry.Name()))
	}
	return again, errors.Join(errs...)
}

func (m *Mirrors) remove(name string) error {
	gone := m.mirror(name)
	if !gone.tryLock() {
		return nil
	}
	defer gone.unlock()
	if err := os.RemoveAll(gone.dir); err != nil {
		return fmt.Errorf("removing a mirror: %w", err)
	}
	gone.forget()
	m.log.Debug("Mirror removed")
	return nil
}

// mirror returns the mirror of a name; it need not exist on disk.
func (m *Mirrors) mirror(name string) *mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.mirrors[name]
	if !ok {
		found = newMirror(filepath.Join(m.dir, name))
		m.mirrors[name] = found
	}
	return found
}

// discover opens a conversation and finds out what the request means. The
// caller closes it.
func (m *Mirrors) discover(ctx context.Context, t target) (remote, advertisement, wanted, error) {
	r, err := m.dial(ctx, t)
	if err != nil {
		return nil, advertisement{}, wanted{}, err
	}
	adv, err := listRefs(ctx, r)
	if err != nil {
		r.close()
		return nil, advertisement{}, wanted{}, err
	}
	want, err := adv.resolve(t)
	if err != nil {
		r.close()
		return nil, advertisement{}, wanted{}, err
	}
	return r, adv, want, nil
}

func (m *Mirrors) dial(ctx context.Context, t target) (remote, error) {
	if !t.addr.isHTTP() {
		return dialSSH(ctx, t, m.dir)
	}
	pool, err := m.pool(t.Request)
	if err != nil {
		return nil, err
	}
	r := newHTTPRemote(t, pool)
	if t.Auth == nil || t.Auth.App == nil {
		return r, nil
	}
	token, denied, err := m.appToken(ctx, t)
	if err != nil {
		return nil, err
	}
	r.basic(appUser, token)
	r.hint, r.denied = "check that the GitHub App is installed for this repository and may read its contents", denied
	return r, nil
}

// bounded returns a context that ends after limit, and says so.
func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no result within %s: %w", limit, context.DeadlineExceeded))
}

// ended prefers the end of the context over what it caused further down.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil || err == nil || errors.Is(err, cause):
		return err
	case errors.Is(err, ctx.Err()):
		return cause
	default:
		return fmt.Errorf("%w: %w", cause, err)
	}
}
