package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

const (
	// maxKeptRefs is how many refs a list may have that is remembered.
	maxKeptRefs = 5_000
	// keepListing is how long a list is of use to anybody.
	keepListing = 10 * time.Minute
)

// listing is the refs of a repository, as they were last listed for an address
// and a credential.
type listing struct {
	mu     sync.Mutex
	adv    advertisement
	at     time.Time // zero if there is none
	used   time.Time
	flight *flight
}

// flight is a list that is being made.
type flight struct {
	began time.Time
	done  chan struct{}
	// The result may be read once done is closed. stopped says that it is none,
	// because whoever made it was told to stop.
	adv     advertisement
	err     error
	stopped bool
}

// turn is a flight to wait for or, if it is mine, to make.
type turn struct {
	flight *flight
	mine   bool
}

// begin returns a list that was begun at since or later, or else a flight.
func (l *listing) begin(since time.Time) (advertisement, time.Time, *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = time.Now()
	if !l.at.IsZero() && !l.at.Before(since) {
		return l.adv, l.at, nil
	}
	if l.flight != nil {
		return advertisement{}, time.Time{}, &turn{flight: l.flight}
	}
	l.flight = &flight{began: l.used, done: make(chan struct{})}
	return advertisement{}, time.Time{}, &turn{flight: l.flight, mine: true}
}

func (l *listing) end(f *flight, adv advertisement, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.adv, f.err, f.stopped = adv, err, errors.Is(err, context.Canceled)
	l.flight, l.adv, l.at = nil, advertisement{}, time.Time{}
	if err == nil && len(adv.refs) <= maxKeptRefs {
		l.adv, l.at = adv, f.began
	}
	close(f.done)
}

func (l *listing) idle(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flight == nil && now.Sub(l.used) > keepListing
}

// listingKey names what a list may be shared by: the same address, credential
// and way to check the server.
func (t target) listingKey() string {
	digest := sha256.Sum256(t.CABundle)
	key := t.key() + string(digest[:])
	if t.InsecureSkipTLSVerify {
		key += "!"
	}
	return key
}
