// Package charts fetches Helm charts: from chart repositories, from plain
// addresses of archives, and from OCI registries.
//
// Versions are resolved, archives unpacked and checked by Helm's own packages.
// What comes over the network is bounded in time and size while it arrives,
// which Helm's downloader does not do; no plugin is run, and no configuration
// of Helm, of Docker or of the user is read.
//
// Archives are cached on disk. A chart of an exact version is taken to be what
// it was; everything else is asked for again each time.
package charts
