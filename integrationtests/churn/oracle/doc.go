// Package oracle says, independently of the code under test, what a hub should look like.
//
// A Witness follows every write to a hub's store. At each deletion of a deployment it judges whether the state of that moment
// justifies it; once a hub has settled, Settled says what is missing, too much or miscounted. Targets are evaluated by brute force:
// whatever cannot be evaluated is tried with every answer.
package oracle
