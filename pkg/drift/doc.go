// Package drift tells whether an object of a cluster is still what a release
// asks for.
//
// Desired is what the release asks for, live what is there, and predicted what
// the API server says that live would be with all that is desired applied. A
// Difference is a leaf of desired that live does not have in the very same
// form. Where there is none, nothing has drifted, and nobody need be asked. A
// Difference is no Drift yet: defaults, normalised quantities and webhooks make
// some. What counts is how live differs from predicted, less what Rules leave
// out. Restoring is the merge patch that makes live like predicted.
//
// A Bout is the struggle with somebody who changes an object back each time it
// is corrected: corrections are made at once at first, then ever later.
//
// The package is pure: it asks nobody, and time is an argument.
package drift
