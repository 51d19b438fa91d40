// Package copies decides about the Secrets and ConfigMaps that deployments have in their cluster because
// downstreamResources names them.
//
// A source is an object of the workspace. The manager reads it and writes what it holds, a Copy, beside the values of each
// deployment that names it; the agent makes the object of it, in the namespace of the release and with the rights of
// the release. Several deployments may name one source: the object in the cluster bears a mark of each, and goes with
// the last. An object without such marks is somebody else's and is never touched.
//
// Nothing that Flotilla itself reaches a server or a cluster with is a source: who may write to a repository must not come by
// the credentials of another one.
package copies
