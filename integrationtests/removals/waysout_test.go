package removals

import "testing"

// TestWaysOut runs what can go on at once, under one manager.
func TestWaysOut(t *testing.T) {
	hub.StartManager(t, nil)
	for _, way := range []struct {
		name string
		test func(*testing.T)
	}{
		{"GitRepoDeleted", gitRepoDeleted},
		{"BundleDeleted", bundleDeleted},
		{"FolderGone", folderGone},
		{"BundleRenamed", bundleRenamed},
		{"ResourceMovedToAnotherBundle", resourceMoved},
		{"ClusterDeleted", clusterDeleted},
		{"ClusterNamespaceDeleted", clusterNamespaceDeleted},
		{"WorkspaceDeleted", workspaceDeleted},
		{"ClusterRelabelled", clusterRelabelled},
		{"ClusterGroupEdited", clusterGroupEdited},
		{"ClusterGroupDeleted", clusterGroupDeleted},
		{"MappingRemoved", mappingRemoved},
		{"RestrictionTightened", restrictionTightened},
		{"KeepResources", keepResources},
		{"DeleteNamespace", deleteNamespace},
		{"AgentDown", agentDown},
		{"BackWhileTheAgentIsDown", backWhileTheAgentIsDown},
		{"BackAndForthWhileTheAgentIsDown", backAndForthWhileTheAgentIsDown},
		{"BackBeforeTheAgentBegins", backBeforeTheAgentBegins},
		{"BackAfterTheAgentHasBegun", backAfterTheAgentHasBegun},
		{"TemplateThatFailsOnOneCluster", templateThatFails},
		{"CredentialOfAnAgentExpired", agentCredentialExpired},
		{"CredentialOfARepositoryExpired", repositoryCredentialExpired},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			way.test(t)
		})
	}
}
