// Package watchset keeps one watch per kind of object that somebody wants to
// hear of, however many want to.
//
// An owner names the resources it wants; a watch starts with the first owner
// of its resource and stops with the last. The watches carry metadata only, of
// objects that match one label selector, and hold what little of it tells who
// an object belongs to.
package watchset
