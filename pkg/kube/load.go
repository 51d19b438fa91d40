package kube

import "sync/atomic"

// heavyLoad is from how many writes on that are asked for, or under way, a hub
// counts as busy. An edit of a few clusters never comes near it.
const heavyLoad = 64

// Load counts writes that change what runs somewhere. Queues whose work can
// wait yield to it: one status costs an API server as much as several
// deployments, and while deployments change it is out of date at once.
type Load struct{ writes atomic.Int64 }

// Add notes that n writes are asked for. The caller calls Done for each.
func (l *Load) Add(n int) { l.writes.Add(int64(n)) }

// Done notes that one write has come back, or will not be made.
func (l *Load) Done() { l.writes.Add(-1) }

// Heavy says whether work that can wait should.
func (l *Load) Heavy() bool { return l != nil && l.writes.Load() >= heavyLoad }
