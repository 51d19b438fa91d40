package source

import (
	"context"
	"time"
)

// Question asks a repository what a request stands for now.
type Question struct {
	Request
	// Since is the moment that the answer must not be older than. What was
	// asked for another request of the same repository and credential since
	// then is an answer, too.
	Since time.Time
	// Urgent asks although the host could not be reached a moment ago: there
	// is a reason to believe that it can be now.
	Urgent bool
}

// Answer is what a repository said.
type Answer struct {
	// Commit is what the request stands for, as a full hash.
	Commit string
	// At is when the repository was asked.
	At time.Time
}

// Ask returns the commit that the question stands for. It asks the server for
// its refs only, and only if nobody has since; of those who ask at once, one
// does. A host that cannot be reached is left alone for a while, for all
// repositories on it. A commit given in full is returned as it is; one that is
// abbreviated may have to be looked up by a fetch. Errors are of type *Error,
// or the context's own.
func (m *Mirrors) Ask(ctx context.Context, q Question) (Answer, error) {
	const op = "listing the refs of"
	t, err := newTarget(q.Request)
	if err != nil {
		return Answer{}, fault(op, t.addr, t.secrets, err)
	}
	if commit, ok := t.pinned(); ok {
		return Answer{Commit: commit.String(), At: time.Now()}, nil
	}
	ctx, cancel := bounded(ctx, min(m.limits.Timeout, maxHeadTimeout))
	defer cancel()
	adv, at, err := m.listed(ctx, t, q)
	if err != nil {
		return Answer{}, fault(op, t.addr, t.secrets, ended(ctx, err))
	}
	want, err := adv.resolve(t)
	switch {
	case err != nil:
		return Answer{}, fault(op, t.addr, t.secrets, err)
	case !want.commit.IsZero():
		return Answer{Commit: want.commit.String(), At: at}, nil
	}
	if commit, ok := m.known(t); ok {
		return Answer{Commit: commit, At: at}, nil
	}
	snapshot, err := m.Fetch(ctx, q.Request)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Commit: snapshot.Commit, At: at}, nil
}

// listed returns the refs of the repository, as somebody has listed them.
func (m *Mirrors) listed(ctx context.Context, t target, q Question) (advertisement, time.Time, error) {
	l := m.listings.of(t.listingKey())
	for {
		adv, at, turn := l.begin(q.Since)
		switch {
		case turn == nil:
			return adv, at, nil
		case turn.mine:
			adv, err := m.listGated(ctx, t, q.Urgent)
			if err == nil {
				l.end(turn.flight, adv, nil)
			} else {
				// Those who wait know nothing of a token that was asked for on the way.
				l.end(turn.flight, adv, t.secrets.bare(err))
			}
			return adv, turn.flight.began, err
		}
		select {
		case <-turn.flight.done:
		case <-ctx.Done():
			return advertisement{}, time.Time{}, context.Cause(ctx)
		}
		// Whoever asked may have been told to stop; that is no answer.
		f := turn.flight
		if !f.began.Before(q.Since) && !f.stopped {
			return f.adv, f.began, f.err
		}
	}
}

// listGated asks the server, unless its host is left alone.
func (m *Mirrors) listGated(ctx context.Context, t target, urgent bool) (advertisement, error) {
	gate := m.gates.of(t.addr.host)
	if err := gate.closed(time.Now()); err != nil && !urgent {
		return advertisement{}, err
	}
	r, err := m.dial(ctx, t)
	var adv advertisement
	if err == nil {
		adv, err = listRefs(ctx, r)
		r.close()
	}
	if ctx.Err() == nil || err == nil {
		gate.note(time.Now(), err, t.secrets)
	}
	return adv, err
}
