// Package rollout decides which deployments of a bundle are written next.
//
// A target is a (bundle, cluster) pair that should have a deployment. A World
// holds what was observed of one bundle: its targets and the deployments that
// exist. Next compares the two and returns a Plan: the deployments to create,
// those to change, and those that are held back, each with its reason.
//
// Deployments are staged first and current later: staged says what should run
// next, current what the agent must run now. Pausing a bundle or a cluster
// holds the step from one to the other.
//
// The package is pure: it reads no cluster, no clock and no cache. It deletes
// nothing either; that is the garbage collector's word alone.
package rollout
