// Package release keeps Helm releases as deployments ask for them.
//
// A release is named by a Key. Helm stores each of its revisions as a Secret
// in the release's namespace; a Record is what the labels of that Secret say,
// which is enough to know to whom the release belongs, what it was made from
// and how far it got, without reading the Secret itself. An Owner is the
// deployment that a release was made for: its name and UID, its hub, and the
// agent that acts for it.
//
// Where a release stands is a State, found by Assess from Records alone; each
// State has one Action. Manager.Apply observes, takes the action and observes
// again until the state is InSync, so that a release which an agent left in
// the middle of something is taken up where it was left. Manager.Remove takes
// a release away; it is done when every object of it that is not kept answers
// "not found", and names what is not.
//
// An object belongs to a release while its own annotations say so. Nothing
// else is ever deleted, whatever a record lists.
package release
