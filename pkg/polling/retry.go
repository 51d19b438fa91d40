package polling

import "time"

// Retries of folders that could not be read start at minRetry, double each
// time, and stay at maxRetry.
const (
	minRetry = 5 * time.Second
	maxRetry = 5 * time.Minute
)

// ReadAgain notes that the commit was read, and computes when to read it again
// if some of its folders failed.
func (b Book) ReadAgain(failed bool, now time.Time) Book {
	if !failed {
		b.Failures, b.Retry = 0, time.Time{}
		return b
	}
	const doublings = 6 // enough to reach maxRetry
	b.Retry = now.Add(min(minRetry<<min(b.Failures, doublings), maxRetry))
	b.Failures++
	return b
}

// RetryDue says whether folders that failed are to be read again now, and else
// when: zero for never.
func (b Book) RetryDue(now time.Time) (due bool, in time.Duration) {
	if b.Retry.IsZero() {
		return false, 0
	}
	left := b.Retry.Sub(now)
	return left <= 0, max(left, 0)
}
