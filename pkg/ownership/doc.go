// Package ownership decides what on the hub has lost its reason to exist.
//
// GitRepos own Bundles, Bundles own BundleDeployments, BundleDeployments own
// the Secrets of their values and share Contents; Clusters own their cluster
// namespaces. The functions here take what was observed of an object and its
// owners and return a Verdict with the evidence for it.
//
// Unknown is not absent: an owner that was never seen leaving is no evidence,
// however absent it is, because a restored backup, a deleted CRD or a stale
// list look just the same. Owners carry a finalizer, so an owner that leaves
// is always seen leaving. What has no owner and no evidence is Orphaned: kept
// and shown.
//
// The package is pure: it reads no cluster, no clock and no cache.
package ownership
