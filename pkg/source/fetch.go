package source

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/sirupsen/logrus"
)

// fewObjects is up to how many objects are stored one by one.
const fewObjects = 200

// Fetch brings the commit that the request stands for into the mirror, if it
// is not there yet, and returns it. Callers that want the same mirror wait for
// each other, and then find the work done. Errors are of type *Error, or the
// context's own.
func (m *Mirrors) Fetch(ctx context.Context, req Request) (*Snapshot, error) {
	const op = "fetching"
	t, err := newTarget(req)
	if err != nil {
		return nil, fault(op, t.addr, t.secrets, err)
	}
	if commit, ok := t.pinned(); ok {
		if snapshot, ok := m.open(t, commit); ok {
			return snapshot, nil
		}
	}
	limited, cancel := bounded(ctx, m.limits.Timeout)
	defer cancel()
	snapshot, err := m.fetch(limited, t)
	if err != nil {
		return nil, fault(op, t.addr, t.secrets, ended(limited, err))
	}
	return snapshot, nil
}

// fetch asks the server first and takes the lock only if there is something to
// bring in. If the lock was taken, the question is asked again afterwards: the
// answer may be old, and no server need wait for us.
func (m *Mirrors) fetch(ctx context.Context, t target) (*Snapshot, error) {
	var held *mirror
	defer func() {
		if held != nil {
			held.unlock()
		}
	}()
	for {
		r, adv, want, err := m.discover(ctx, t)
		if err != nil {
			return nil, err
		}
		if snapshot, ok := m.open(t, want.commit); ok {
			r.close()
			return snapshot, nil
		}
		name := t.key()
		if want.history || !adv.servesShallow() {
			name += historySuffix
		}
		wanted := m.mirror(name)
		if held != wanted && held != nil {
			held.unlock()
			held = nil
		}
		if held == nil && wanted.tryLock() {
			held = wanted
		}
		if held != nil {
			defer r.close()
			return m.receive(ctx, t, incoming{mirror: held, remote: r, adv: adv, want: want})
		}
		r.close()
		if err := wanted.lock(ctx); err != nil {
			return nil, fmt.Errorf("waiting for another fetch of the same repository: %w", err)
		}
		held = wanted
	}
}

// incoming is a transfer about to begin; its mirror is locked.
type incoming struct {
	mirror *mirror
	remote remote
	adv    advertisement
	want   wanted
}

// receive transfers, stores and marks the commit.
func (m *Mirrors) receive(ctx context.Context, t target, in incoming) (*Snapshot, error) {
	began := time.Now()
	g, err := in.mirror.writable(m.limits)
	if err != nil {
		return nil, err
	}
	pack, err := m.transfer(ctx, g, in)
	if err != nil {
		return nil, err
	}
	if pack != nil {
		defer pack.discard()
		if err := m.store(g, in, pack); err != nil {
			return nil, err
		}
	}
	snapshot, err := m.settle(t, g, in, pack)
	if err != nil {
		return nil, err
	}
	fields := logrus.Fields{"repository": t.addr.String(), "commit": snapshot.Commit, "duration": time.Since(began).String()}
	if pack != nil {
		fields["bytes"], fields["objects"] = pack.bytes, pack.objects
	}
	m.log.WithFields(fields).Debug("Commit fetched")
	return snapshot, nil
}

// transfer brings in a pack, or nothing if the mirror has all that is wanted.
func (m *Mirrors) transfer(ctx context.Context, g generation, in incoming) (*spooled, error) {
	tr := transfer{wants: []plumbing.Hash{in.want.object}, haves: g.haves(maxHaves), shallow: true}
	if in.mirror.history() {
		tr.haves, tr.shallow = g.haves(maxTips), false
	}
	if in.want.history {
		tips, err := in.adv.tips()
		if err != nil {
			return nil, err
		}
		tr.wants = nil
		for _, tip := range tips {
			if !g.has(tip) {
				tr.wants = append(tr.wants, tip)
			}
		}
		if len(tr.wants) == 0 {
			return nil, nil
		}
	}
	stream, err := tr.open(ctx, in.remote, in.adv.caps)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return spool(ctx, stream, g.dir, m.limits)
}

// store puts the objects into the generation: a first or large pack as it is, a small
// one object by object, because each pack makes reading all others slower. A
// thin pack builds on objects that only the mirror has, so a failure can mean
// that those are damaged.
func (m *Mirrors) store(g generation, in incoming, pack *spooled) error {
	first := len(g.marks()) == 0
	if in.mirror.history() || first || !pack.thin && pack.objects > fewObjects {
		return pack.storeWhole(g.dir)
	}
	if err := pack.storeEach(g.storage()); err != nil {
		g.condemn()
		return err
	}
	return nil
}

// settle finds the commit among what has come and marks it as complete.
func (m *Mirrors) settle(t target, g generation, in incoming, pack *spooled) (*Snapshot, error) {
	objects := g.storage()
	var size int64
	if pack != nil {
		size = pack.bytes
	}
	var commit plumbing.Hash
	var err error
	if in.want.history {
		if err := m.markTips(g, in, size); err != nil {
			return nil, err
		}
		size = 0
		commit, err = findCommit(g, t.Revision)
	} else {
		commit, err = peel(objects, in.want.object)
		if err == nil && commit != in.want.commit {
			err = &refusal{reason: Invalid, text: fmt.Sprintf("%s is not a commit", in.want.commit)}
		}
	}
	if err != nil {
		return nil, err
	}
	if err := g.complete(commit, size); err != nil {
		return nil, err
	}
	in.mirror.use(m.now())
	return m.snapshot(t, g, commit)
}

// markTips marks every branch and tag, so that the next fetch brings only what
// is new since.
func (m *Mirrors) markTips(g generation, in incoming, size int64) error {
	tips, err := in.adv.tips()
	if err != nil {
		return err
	}
	for _, tip := range tips {
		if g.has(tip) {
			continue
		}
		if err := g.complete(tip, size); err != nil {
			return err
		}
		size = 0
	}
	return nil
}

// findCommit looks up a full or abbreviated commit in a whole history.
func findCommit(g generation, revision string) (plumbing.Hash, error) {
	revision = strings.ToLower(revision)
	objects := g.storage()
	even, err := hex.DecodeString(revision[:len(revision)/2*2])
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("looking up commit %s: %w", revision, err)
	}
	candidates, err := objects.HashesWithPrefix(even)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("looking up commit %s: %w", revision, err)
	}
	var found plumbing.Hash
	for _, candidate := range candidates {
		if !strings.HasPrefix(candidate.String(), revision) {
			continue
		}
		if _, err := object.GetCommit(objects, candidate); errors.Is(err, plumbing.ErrObjectNotFound) {
			continue // an object of another kind
		} else if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("looking up commit %s: %w", revision, err)
		}
		if !found.IsZero() {
			return plumbing.ZeroHash, &refusal{reason: RefNotFound, hint: "write more digits", text: "the abbreviated commit " + revision + " is ambiguous"}
		}
		found = candidate
	}
	if found.IsZero() {
		return plumbing.ZeroHash, &refusal{reason: RefNotFound, hint: "it must be part of a branch or tag", text: "the repository has no commit " + revision}
	}
	return found, nil
}
