// Package render turns the files of a bundle, and the options that hold for one
// cluster, into what the Helm SDK installs.
//
// A bundle is deployed in one of these styles, which its files decide:
//
//   - chart: the bundle holds a Helm chart, of its own or downloaded into it;
//   - kustomization: the bundle holds a kustomization; with a chart, the
//     kustomization works on the manifests that the chart renders;
//   - plain: everything else. Files under templates/ are Helm templates, all
//     other manifests are literal: no template engine ever reads them.
//
// Whatever the style, the outcome is a chart, its values, and a post-renderer
// that holds all that is not a template and gives every object what marks it as
// ours: labels, annotations, namespace. Nothing here talks to a cluster, a
// network or a disk. Files come from people we do not know, so every step has a
// limit.
package render
