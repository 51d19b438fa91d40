package nodes

import "testing"

// TestStory is one story; each part begins where the one before it ended.
func TestStory(t *testing.T) {
	s := newStory(t)
	for _, part := range []struct {
		name string
		tell func(*testing.T)
	}{
		{"the hub is installed", s.installHub},
		{"a cluster joins by itself", s.join},
		{"a cluster is imported", s.importCluster},
		{"a repository is deployed", s.deploy},
		{"targets are edited", s.editTargets},
		{"the agent is killed", s.killAgent},
		{"the manager is killed", s.killManager},
		{"the node of a cluster restarts", s.restartEdge},
		{"the node of the hub restarts", s.restartHub},
		{"the network is cut for a minute", s.cutNetwork},
		{"the hub is uninstalled, then the agent", s.uninstallHubFirst},
		{"all is installed anew", s.installAgain},
		{"the cluster joins once more, by a token", s.joinByToken},
		{"the agent is uninstalled, then the hub", s.uninstallAgentFirst},
	} {
		if !t.Run(part.name, part.tell) {
			return // What follows would fail by this.
		}
	}
	for _, script := range append(s.readme.missed(), s.guide.missed()...) {
		t.Errorf("a command of the documentation is run by nobody: %s", script)
	}
}
