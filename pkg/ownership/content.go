package ownership

import (
	"time"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// ContentAction is what is to be done with a Content.
type ContentAction int

const (
	// ContentKeep: it is in use and not marked.
	ContentKeep ContentAction = iota
	// ContentUnmark: it is in use again, so its mark goes.
	ContentUnmark
	// ContentMark: nothing refers to it; its grace period starts.
	ContentMark
	// ContentWait: its grace period is not over.
	ContentWait
	// ContentDelete: nothing has referred to it for the whole grace period.
	ContentDelete
)

// ContentFacts are what is known about a Content.
type ContentFacts struct {
	Annotations map[string]string
	// Used says whether a deployment runs it, or is to run it.
	Used bool
	// Created is when it was made.
	Created time.Time
	Grace   time.Duration
	Now     time.Time
}

// contentIsNew is how long a Content has to find its first user: it is stored
// before the first deployment that names it.
const contentIsNew = 5 * time.Second

// Content decides about a Content: first marked, deleted after a grace period.
// The second value is how long to wait where the action is ContentWait.
func Content(f ContentFacts) (ContentAction, time.Duration) {
	mark, marked := f.Annotations[names.AnnotationUnused]
	if f.Used {
		if marked {
			return ContentUnmark, 0
		}
		return ContentKeep, 0
	}
	if left := f.Created.Add(min(contentIsNew, f.Grace)).Sub(f.Now); !marked && left > 0 {
		return ContentWait, left
	}
	since, err := time.Parse(time.RFC3339, mark)
	if !marked || err != nil {
		return ContentMark, 0
	}
	if left := since.Add(f.Grace).Sub(f.Now); left > 0 {
		return ContentWait, left
	}
	return ContentDelete, 0
}
