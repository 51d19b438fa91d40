// Package source reads Git repositories.
//
// A mirror is a bare repository on disk, one per repository address and
// credential, so that nothing one credential may read is ever served to
// another. A fetch asks the server for one commit without its history and for
// no object that the mirror already has; what arrives is measured while it
// arrives and refused as soon as it exceeds a limit. A commit counts as
// fetched only once every object of it is on disk: a mark is written then, and
// nothing but marks is believed. A process killed at any moment therefore
// leaves a mirror that is either usable or merely has something left over.
//
// A generation is one incarnation of a mirror. A damaged or overgrown mirror
// is not repaired: the next fetch begins a new generation and leaves the one
// before in place, so that a snapshot that is being read stays whole.
//
// A snapshot is the tree of one commit as an [io/fs.FS]. It is read from the
// object store; nothing is checked out.
//
// Only http, https and ssh are spoken, in process. No git binary is run, and
// no configuration of the user or the machine is read.
package source
