package webhooks

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// allowance bounds what is held in memory at once, in bytes.
type allowance struct {
	mu   sync.Mutex
	left int64
}

func (a *allowance) take(n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > a.left {
		return false
	}
	a.left -= n
	return true
}

func (a *allowance) give(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left += n
}

// held is a delivery in memory.
type held struct {
	bytes []byte
	size  int64
	from  *allowance
}

func (h held) release() { h.from.give(h.size) }

// body reads what was delivered; the caller releases it.
func (r *Receiver) body(w http.ResponseWriter, req *http.Request) (held, *answer) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return held{}, &answer{http.StatusMethodNotAllowed, "malformed", "webhooks are delivered with POST"}
	}
	h := held{size: req.ContentLength, from: r.memory}
	if h.size < 0 {
		h.size = MaxBody // It may be anything.
	}
	if h.size > MaxBody {
		return held{}, tooLarge()
	}
	if !h.from.take(h.size) {
		return held{}, &answer{http.StatusServiceUnavailable, "overloaded", "too many deliveries at once: deliver again"}
	}
	h.bytes = make([]byte, h.size)
	n, err := io.ReadFull(req.Body, h.bytes)
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case req.ContentLength < 0 && ended:
		h.bytes = h.bytes[:n]
		return h, nil
	case req.ContentLength < 0 && err == nil:
		h.release()
		return held{}, tooLarge()
	case err != nil && h.size > 0:
		h.release()
		return held{}, &answer{http.StatusBadRequest, "malformed", "the delivery broke off: deliver again"}
	}
	return h, nil
}

func tooLarge() *answer {
	return &answer{http.StatusRequestEntityTooLarge, "malformed", fmt.Sprintf(
		"the delivery is larger than %d bytes: push less at once; the commit is found when the repository is polled", MaxBody)}
}
