// Package targeting decides which clusters a bundle is deployed to.
//
// A target names clusters by name, by selector, by group or by a selector of
// groups. Criteria inside one target are AND-ed, targets are OR-ed, and a
// target without any criterion matches nothing. A bundle's restrictions are an
// allow-list on top: a cluster has to pass one of them, if there are any.
//
// A Matcher is compiled once per bundle and namespace of clusters and then
// asked per cluster. Its answers have a third value beside yes and no: Unknown,
// where a selector that does not parse or a group that is missing could have
// turned the answer. Unknown is never a reason to delete anything.
//
// The package is pure: it reads no cluster, no clock and no cache.
package targeting
