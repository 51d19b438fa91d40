// Package status computes what the hub says about its objects.
//
// A status is a function of facts: the object, its children, and the outcome of
// the last attempt to act on it. Ready is only ever computed, never a step of
// its own. Deployments that are being removed leave the counts at once and show
// as the condition Removing. The same facts give the same status, times
// included, so that nothing is written when nothing changed; lists are bounded,
// so that no status grows with the fleet.
//
// There are two ways to the same status. ForBundle, ForGitRepo, ForCluster and
// ForClusterGroup add up all children: they say what is right. A roll-up is told
// of one child at a time and knows the sum already: that is what runs. Both end
// in the same functions, and tests and the manager's auditor hold one against
// the other.
//
// A deployment on a cluster whose agent is away is Unknown, whatever the agent
// said before.
//
// What agents report is not trusted: texts are cut and cleaned before they
// appear in another object.
//
// The package is pure: it reads no cluster and no clock.
package status
