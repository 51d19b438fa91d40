package v1alpha1

// Applied says whether the agent reports that what the deployment asks for now was installed with success, with the Secrets
// and ConfigMaps that it copies as they are now.
func (bd *BundleDeployment) Applied() bool {
	return bd.Status.AppliedDeploymentID == bd.Spec.DeploymentID &&
		// Agents that know no copies say nothing of them; what copied some and does no more has another deploymentID.
		(len(bd.Spec.Options.DownstreamResources) == 0 || bd.Status.DownstreamResourcesGeneration == bd.Spec.DownstreamResourcesGeneration)
}
