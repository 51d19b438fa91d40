package churn

// disruption is something that hits the manager or the API server while users go on.
type disruption struct {
	name       string
	begin, end func()
}

// disruptions returns all there are; every round has the next one.
func (c *churn) disruptions() []disruption {
	nothing := func() {}
	return []disruption{
		{"manager restarted", func() { c.manager.Stop(c) }, c.manager.Start},
		{"API server killed", func() { env.RestartAPIServer(c, true) }, nothing},
		{"manager killed", c.killManager, c.reviveManager},
		{"watches lost", c.line.Darken, c.line.Relist},
		{"answer lost", func() { c.line.LoseAnswer(1 + c.rng.IntN(20)) }, c.line.Repair},
		{"API server stopped", func() { env.RestartAPIServer(c, false) }, nothing},
		{"manager and API server killed", func() {
			c.killManager()
			env.RestartAPIServer(c, true)
		}, c.reviveManager},
	}
}

// killManager kills the manager after some more requests.
func (c *churn) killManager() { c.line.CutAfter(c.rng.IntN(30)) }

// reviveManager starts one anew: whatever the old one still wants, nobody hears.
func (c *churn) reviveManager() {
	c.line.CutAfter(0)
	_ = c.manager.Crash()
	c.line.Repair()
	c.manager.Start()
}
