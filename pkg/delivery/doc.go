// Package delivery decides what the agent of a Cluster is made of, and who keeps it so.
//
// A Cluster's settings of its agent (agentEnvVars, agentResources, redeployAgentGeneration and the others) become the
// objects of the agent: a Deployment and, where asked for, a PriorityClass and a PodDisruptionBudget. To a cluster with a
// kubeconfig the manager brings them itself. An agent that joined by itself gets them as a BundleDeployment of its own,
// next to those of its bundles, and installs them like these: as one Helm release, but always as itself, and never to be
// uninstalled.
package delivery
