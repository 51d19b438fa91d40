// Package bundle turns bundles into what deployments are made of.
//
// A content is the set of a bundle's files, stored once and named by its digest. Options say how the files are
// deployed: those of the bundle, with the customizations of a target merged over them and with Helm values templated
// for one cluster. A deploymentID names both, so it changes exactly when something has to be deployed again. Values
// are split from bundles and options before these are stored: they live in Secrets only.
//
// Digests, names and encodings are those of Fleet, byte for byte: a hub that is taken over need not deploy again.
//
// The package is pure. It reads no cluster, no clock and no file, and arguments are never changed.
package bundle
