// Package harness lets integration tests run the real manager and agents against a real API server.
//
// A test package starts one Environment in its TestMain and shares it: a control plane takes seconds to start, a workspace
// of one's own milliseconds. Every test works in workspaces that it makes for itself, so tests may run in parallel.
// Waiting is always for a condition, by polling with a deadline; a test that waited in vain fails with what it last saw,
// the conditions and events of the object included.
package harness
