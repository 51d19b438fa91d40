// Package kube talks to API servers on behalf of the controllers.
//
// A Connection holds the clients and the shared caches of one API server. A
// Kind is the typed handle on one API kind over such a connection: a cache fed
// by one watch, a client whose calls honour a context, and the events of the
// watch. A Queue runs one reconcile function over keys, woken by events or at
// computed instants; it is the only place where controllers wait.
//
// The caches and clients are wrangler's and lasso's. Their controllers are not
// used: handlers of one kind share a queue there, so that an error of one runs
// all the others again, and waking a key counts as a failure of that key.
package kube
