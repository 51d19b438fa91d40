package release

// revision is what pruning needs to know of a recorded revision.
type revision struct {
	number  int
	status  Status
	objects []Object
}

// prunable returns the numbers of the revisions that may be forgotten so that
// at most keep are left (0: no limit). history is sorted, the newest last.
//
// The newest revision stays, and the one that is deployed. While the newest is
// not deployed, a revision also stays if it is the last one to name an object:
// what a failed upgrade created is found again by its record alone. An upgrade
// that succeeded has removed all of that.
func prunable(history []revision, keep int) []int {
	if keep <= 0 || len(history) <= keep {
		return nil
	}
	newest := history[len(history)-1]
	kept := []int{}
	var named []Object
	var gone []int
	for i := len(history) - 1; i >= 0; i-- {
		r := history[i]
		stays := len(kept) < keep || r.status == StatusDeployed ||
			newest.status != StatusDeployed && len(without(r.objects, named)) > 0
		if !stays {
			gone = append(gone, r.number)
			continue
		}
		kept = append(kept, r.number)
		named = append(named, r.objects...)
	}
	return gone
}
