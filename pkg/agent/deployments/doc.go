// Package deployments runs what the deployments of one cluster ask for.
//
// A deployment (a BundleDeployment in the cluster's namespace on the hub) asks
// for one Helm release. The World of a deployment is what is known of it
// without asking anybody: the deployment, the records of its releases, its
// neighbours on the same cluster, and how the last attempt ended. Decide turns
// it into a Decision. What the decision asks for is done, and what came of it
// is reported in the deployment's status.
//
// Removal has a rule of its own: nothing goes without Evidence. Evidence is
// read live from the hub, in one go, when a removal is due: the deployment is
// there, marked for deletion, and the one that the release was made for, or one
// that took its place; and its Cluster, its namespace and its kind are there
// and staying. What is missing is never evidence. A release whose deployment is
// missing is Unclaimed: it stays, and is counted.
//
// A removal is announced in the status before it begins. Until then the hub may
// let go of the deployment and make it anew; the agent then adopts the release
// for it, and installs nothing.
package deployments
