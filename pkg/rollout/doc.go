// Package rollout decides which deployments of a bundle are written next.
//
// A target is a (bundle, cluster) pair that should have a deployment. A World
// holds what was observed of one bundle: its targets and the deployments that
// exist. Next compares the two and returns a Plan: the deployments to create,
// those to change, and those that are held back, each with its reason.
//
// Targets are changed partition by partition. A target has its turn when its
// partition is begun and it may become unavailable; what it should run is then
// staged and made current in one write. Before its turn nothing is written for
// it. Pausing a bundle or a cluster holds the step from staged to current:
// then what is new is only staged.
//
//   - available: the agent reports that what is current is applied and ready.
//     Who never was asked to run anything is not unavailable either.
//   - up to date: what the target should run is staged, current and applied.
//   - unfinished: not available or not up to date. A partition with more
//     unfinished targets than it may have unavailable ones holds back those
//     after it.
//
// Only agents that are there can be waited for. A cluster whose agent is
// offline, or has never reported, is written in its turn and counts for
// nothing; a paused one that is available is out of the roll-out, too.
//
// A plan is a function of its World alone. Whoever writes it must plan again
// on what was written, not on a cache that is behind: two plans that do not
// know of each other would spend the same allowance twice.
//
// The package is pure: it reads no cluster, no clock and no cache. It deletes
// nothing either; that is the garbage collector's word alone.
package rollout
