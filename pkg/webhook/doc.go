// Package webhook reads what Git hosts deliver when somebody pushes.
//
// A delivery is one request of a Git host. It names a repository and the refs
// that were pushed, and carries a proof that it comes from somebody who knows
// the secret of the webhook: a signature over the body, a token or a password.
// Reading a delivery believes nothing; whoever acts on it has it proven first.
// Nothing of a delivery is ever used as a pattern or an address to call: it is
// compared with what GitRepos name, and no more.
package webhook
