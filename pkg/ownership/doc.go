// Package ownership decides what on the hub has lost its reason to exist.
//
// GitRepos and HelmOps own Bundles, Bundles own BundleDeployments,
// BundleDeployments own the Secrets of their values and share Contents;
// Clusters own their cluster namespaces. A Graph holds these relations, so that
// a change costs what it touches. Judge and JudgeBundles take what was observed
// of an owner and of what belongs to it, and return candidates: what is to go,
// the evidence for it, and whether that evidence is enough.
//
// Three kinds of evidence are told apart. Somebody's own word, which is a
// delete or an edit of targets, counts whatever its size. A side effect, such
// as the relabelling of a cluster, counts until the Brake holds it: one wrong
// label must not empty a fleet. What is not known never counts: an owner that
// was never seen leaving is no evidence, however absent it is, because a
// restored backup, a deleted CRD or a stale list look just the same. Owners
// carry a finalizer, so an owner that leaves is always seen leaving. What has no
// owner and no evidence is Orphaned: kept and shown.
//
// The package is pure: it reads no cluster, no clock and no cache.
package ownership
